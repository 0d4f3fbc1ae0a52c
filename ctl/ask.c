// SPDX-License-Identifier: GPL-2.0
/* What changes something; for root. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl.h"

#define CORE		"/sys/kernel/aeration/"
#define START		CORE "request/start"
#define CANCEL		CORE "request/cancel"
#define STATUS		CORE "request/status"
#define BACKEND		"/sys/module/aeration/parameters/backend"

/* Between two looks at a request, ms. */
#define LOOK_MS		200

/**
 * struct request - what the kernel says of a request
 * @number: counted from 1
 * @what: "flush", "again", "restore" or "squeeze"
 * @state: "none", "running", "done", "cancelled" or "failed"
 * @bytes: let go of, or restored
 * @err: 0 or a negative error
 */
struct request {
	uint64_t number;
	char what[32];
	char state[32];
	uint64_t bytes;
	int err;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static enum ctl_exit cannot(const char *what)
{
	if (!strcmp(what, "squeeze"))
		complain("squeeze: this kernel offers no way to take cache; \"squeeze\" in aerationctl(8) says what it takes");
	else
		complain("%s: nothing is held here: what was given back can be used at any time",
			 what);
	return EXIT_NOT;
}

/* A write that has failed, in words. */
static enum ctl_exit failed(const char *what, int err)
{
	switch (-err) {
	case ENOENT:
		complain("aeration is not loaded; \"aerationctl explain\" says more");
		return EXIT_NOT_LOADED;
	case EACCES:
	case EPERM:
		complain("only root may do that");
		return EXIT_ROOT;
	case EBUSY:
		complain("%s: another request is under way", what);
		return EXIT_NOT;
	case ENODEV:
		complain("%s: nothing is running; \"aerationctl explain\" says why",
			 what);
		return EXIT_NOT;
	case EOPNOTSUPP:
		return cannot(what);
	case EAGAIN:
		complain("%s: the hypervisor could not do all of it; try again",
			 what);
		return EXIT_NOT;
	case EIO:
		complain("%s: the hypervisor did not take what it was offered",
			 what);
		return EXIT_NOT;
	default:
		complain("%s: %s", what, strerror(-err));
		return EXIT_NOT;
	}
}

static bool read_request(struct request *r)
{
	char line[LINE_MAX_BYTES];

	return facts_line(STATUS, line) &&
	       sscanf(line, "%" SCNu64 " %31s %31s %" SCNu64 " %d", &r->number,
		      r->what, r->state, &r->bytes, &r->err) == 5;
}

static bool is_running(const struct request *r)
{
	return !strcmp(r->state, "running");
}

static void say_progress(const struct request *r)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s: %s so far ", r->what, mib(r->bytes));
}

/*
 * Wait until a request has ended, or another one has begun after it. One that is ours is
 * cancelled when somebody interrupts that; another one's is not. Return: false if its end
 * was not seen.
 */
static bool await(struct request *r, bool ours)
{
	uint64_t number = r->number;
	bool there, told = false;

	while ((there = read_request(r)) && r->number == number &&
	       is_running(r) && (ours || !interrupted)) {
		say_progress(r);
		told = isatty(STDERR_FILENO);
		poll(NULL, 0, LOOK_MS);
		if (ours && interrupted == 1) {
			interrupted = 2;
			facts_write(CANCEL, "1");
		}
	}
	if (told)
		fputc('\n', stderr);
	return there && r->number == number;
}

/* Begin, after what is under way if @wait. Return: 0 or a negative error. */
static int begin(const char *what, bool wait)
{
	struct request other;
	int err;

	do {
		err = facts_write(START, what);
		if (err != -EBUSY || !wait)
			return err;
		if (read_request(&other))
			await(&other, false);
	} while (!interrupted);
	return -EINTR;
}

static enum ctl_exit end(const struct request *r, const char *words)
{
	if (!strcmp(r->state, "done")) {
		printf("%s %s\n", mib(r->bytes), words);
		return EXIT_DONE;
	}
	if (!strcmp(r->state, "cancelled")) {
		complain("%s: cancelled, after %s", r->what, mib(r->bytes));
		return EXIT_NOT;
	}
	return failed(r->what, r->err);
}

/**
 * ask_kernel - have the kernel do something
 * @order: that, in its words
 * @what: the first of them
 * @wait: see how it ends
 * @words: what became of the bytes then
 *
 * Return: the exit status.
 */
enum ctl_exit ask_kernel(const char *order, const char *what, bool wait,
			 const char *words)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct request r;
	int err;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	err = begin(order, wait);
	if (err)
		return failed(what, err);
	if (!read_request(&r))
		return failed(what, -EIO);
	if (!wait) {
		printf("%s has begun; with --wait you see how it ends\n", what);
		return EXIT_DONE;
	}
	if (strcmp(r.what, what) || (is_running(&r) && !await(&r, true))) {
		complain("%s: its end was not seen: another one has begun since, or aeration is gone",
			 what);
		return EXIT_NOT;
	}
	return end(&r, words);
}

static enum ctl_exit ask(const char *what, bool wait, const char *words)
{
	return ask_kernel(what, what, wait, words);
}

/**
 * flush_command - aerationctl flush [--again] [--wait]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit flush_command(int argc, char **argv)
{
	bool again = false, wait = false;
	int i;

	for (i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--again"))
			again = true;
		else if (!strcmp(argv[i], "--wait"))
			wait = true;
		else
			return takes(1, argv + i, NULL, NULL) ? EXIT_DONE :
								EXIT_USAGE;
	}
	return ask(again ? "again" : "flush", wait, "given back");
}

/**
 * restore_command - aerationctl restore [--wait]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit restore_command(int argc, char **argv)
{
	bool wait;

	if (!takes(argc, argv, "--wait", &wait))
		return EXIT_USAGE;
	return ask("restore", wait, "are the guest's again");
}

static enum ctl_exit choose(const char *word)
{
	int err = facts_write(BACKEND, word);
	struct facts f;

	if (err == -EINVAL) {
		complain("there is no backend \"%s\"; known: virtio, xen, hyperv, loop",
			 word);
		return EXIT_USAGE;
	}
	if (err)
		return failed(word, err);
	facts_read(&f);
	printf("%s, backend %s\n", f.word, f.backend);
	if (f.state == STATE_RUNNING || !strcmp(word, "none"))
		return EXIT_DONE;
	complain("\"aerationctl explain\" says why nothing is given back");
	return EXIT_NOT;
}

/**
 * on_command - aerationctl on [BACKEND]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit on_command(int argc, char **argv)
{
	if (argc > 1 && !takes(argc - 1, argv + 1, NULL, NULL))
		return EXIT_USAGE;
	return choose(argc ? argv[0] : "auto");
}

/**
 * off_command - aerationctl off
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit off_command(int argc, char **argv)
{
	if (!takes(argc, argv, NULL, NULL))
		return EXIT_USAGE;
	return choose("none");
}

/**
 * enum kind - what a setting is
 * @KIND_TIME: "2s", "500ms"; the file has milliseconds
 * @KIND_SIZE: "64M", "1G"; the file has MiB
 * @KIND_SHARE: "512M", "50%"; the kernel understands it
 */
enum kind {
	KIND_TIME,
	KIND_SIZE,
	KIND_SHARE,
};

static const struct setting {
	const char *name;
	const char *file;
	enum kind kind;
	const char *example;
} settings[] = {
	{ "window", CORE "window_ms", KIND_TIME, "2s or 500ms, up to 60s" },
	{ "backoff", CORE "backoff_ms", KIND_TIME, "30s, up to 60s" },
	{ "reserve", CORE "reserve_mb", KIND_SIZE, "64M or 1G" },
	{ "max-held", CORE "max_held", KIND_SHARE, "512M, 50% or 0" },
};

#define NR_SETTINGS	(sizeof(settings) / sizeof(settings[0]))

/* What the file wants. Return: false if the text is none. */
static bool convert(const struct setting *s, const char *text, char *to,
		    size_t size)
{
	unsigned long value = 0;
	char *end;

	switch (s->kind) {
	case KIND_TIME:
		if (!read_seconds(text, &value))
			return false;
		break;
	case KIND_SIZE:
		errno = 0;
		value = strtoul(text, &end, 10);
		if (*text < '0' || *text > '9' || errno || value > (uint64_t)1 << 30)
			return false;
		if (!strcmp(end, "G"))
			value <<= 10;
		else if (*end && strcmp(end, "M"))
			return false;
		break;
	case KIND_SHARE:
		snprintf(to, size, "%s", text);
		return strlen(text) < size;
	}
	snprintf(to, size, "%lu", value);
	return true;
}

/**
 * set_command - aerationctl set NAME VALUE
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit set_command(int argc, char **argv)
{
	const struct setting *s;
	char text[32];
	int err;

	for (s = settings; s < settings + NR_SETTINGS; s++)
		if (argc == 2 && !strcmp(argv[0], s->name))
			break;
	if (s == settings + NR_SETTINGS) {
		complain("set wants a name and a value; there are:");
		for (s = settings; s < settings + NR_SETTINGS; s++)
			fprintf(stderr, "  %-9s %s\n", s->name, s->example);
		return EXIT_USAGE;
	}
	err = convert(s, argv[1], text, sizeof(text)) ?
		      facts_write(s->file, text) : -EINVAL;
	if (err == -EINVAL) {
		complain("%s cannot be \"%s\"; it is %s", s->name, argv[1],
			 s->example);
		return EXIT_USAGE;
	}
	if (err)
		return failed(s->name, err);
	printf("%s is %s until the next boot\n", s->name, argv[1]);
	return EXIT_DONE;
}
