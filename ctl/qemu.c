// SPDX-License-Identifier: GPL-2.0
/*
 * A guest of QEMU, from its host: is the feature offered, has the guest taken it, and
 * how much memory does the host still give to it?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "host.h"
#include "qmp.h"

/* Bytes of a path in QEMU's tree of objects, and of one in procfs. */
#define PATH_BYTES	256
#define PROC_BYTES	64

/* Bytes of a command line that are looked at. */
#define ARGUMENTS_BYTES	65536

#define KIB		((uint64_t)1024)

/* What memory that nobody can take back hides: a part of all, percent. */
#define LOCKED_SHARE	50

/* QEMU numbers a balloon's queues in this order, and leaves out what it does not offer. */
#define QUEUE_INFLATE	0U
#define QUEUE_AFTER	3U	/* inflate, deflate, statistics */

/**
 * enum feature - what a balloon may offer, in the order of its queues
 * @HINTS: free page hints
 * @REPORTS: reports of free pages
 */
enum feature {
	HINTS,
	REPORTS,
	NR_FEATURES
};

/* The device's properties, and our words. */
static const struct {
	const char *property;
	const char *words;
} features[NR_FEATURES] = {
	[HINTS] = { "free-page-hint", "free page hints" },
	[REPORTS] = { "free-page-reporting", "reports of free pages" },
};

/**
 * struct guest - what is known of a guest
 * @pid: its QEMU, or 0
 * @memory: bytes that it has, as the next five
 * @resident: of these, what the host has given and not got back
 * @locked: what nobody can take back, of all that QEMU has
 * @left: what the balloon leaves
 * @free: free, as the guest says
 * @asked: whether there is a balloon device is known
 * @device: path of the balloon device, or ""
 * @alive: the guest has a driver for it
 * @offered: by feature
 * @accepted: by feature: its queue runs
 * @known: whether @alive and @accepted are
 * @part: bytes of the mapping that @resident is of
 */
struct guest {
	pid_t pid;
	uint64_t memory;
	uint64_t resident;
	uint64_t locked;
	uint64_t left;
	uint64_t free;
	bool asked;
	char device[PATH_BYTES];
	bool alive;
	bool offered[NR_FEATURES];
	bool accepted[NR_FEATURES];
	bool known;
	uint64_t part;
};

/* A file of the process; NULL: there is none, or it is another user's. */
static FILE *open_of(const struct guest *g, const char *name)
{
	char path[PROC_BYTES];
	FILE *file;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)g->pid, name);
	fd = facts_open(path, O_RDONLY);
	if (fd < 0)
		return NULL;
	file = fdopen(fd, "r");
	if (!file)
		close(fd);
	return file;
}

/*
 * How much of its memory is there: in the mapping that holds @place, or where that is 0,
 * in the largest one. Return: false if nobody may look, or nothing is there.
 */
static bool read_mapping(struct guest *g, uint64_t place)
{
	unsigned long long from, to, kib;
	bool wanted = false;
	char line[512];
	FILE *in = open_of(g, "smaps");

	g->resident = UNKNOWN;
	g->part = 0;
	if (!in)
		return false;
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2) {
			wanted = place ? place >= from && place < to :
					 to - from > g->part;
			if (wanted)
				g->part = to - from;
		} else if (wanted && sscanf(line, "Rss: %llu kB", &kib) == 1) {
			g->resident = kib * KIB;
		}
	}
	fclose(in);
	return g->part;
}

/* What nobody can take back: locked by mlock(), or for a device that is passed through. */
static void read_locked(struct guest *g)
{
	unsigned long long kib;
	char line[512];
	FILE *in = open_of(g, "status");

	g->locked = UNKNOWN;
	if (!in)
		return;
	g->locked = 0;
	while (fgets(line, sizeof(line), in))
		if (sscanf(line, "VmLck: %llu kB", &kib) == 1 ||
		    sscanf(line, "VmPin: %llu kB", &kib) == 1)
			g->locked += kib * KIB;
	fclose(in);
}

/* Its arguments, a NUL after each. Return: bytes of @text, ARGUMENTS_BYTES at most. */
static size_t read_arguments(const struct guest *g, char *text)
{
	FILE *in = open_of(g, "cmdline");
	size_t len;

	if (!in)
		return 0;
	len = fread(text, 1, ARGUMENTS_BYTES - 1, in);
	fclose(in);
	text[len] = '\0';
	return len;
}

/* What was asked of the device when QEMU was started. */
static bool read_command_line(struct guest *g)
{
	static char text[ARGUMENTS_BYTES];
	size_t len = read_arguments(g, text);
	const char *at;

	for (at = text; at < text + len; at += strlen(at) + 1) {
		const char *name = strstr(at, "virtio-balloon");

		if (!name)
			continue;
		snprintf(g->device, sizeof(g->device), "%.*s",
			 (int)strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"),
			 name);
		/* As text, or as JSON, as libvirt has it. */
		g->offered[REPORTS] =
			strstr(at, "free-page-reporting=on") ||
			strstr(at, "free-page-reporting=true") ||
			strstr(at, "\"free-page-reporting\":true");
	}
	return len;
}

/*
 * The balloon among virtio devices; a daemon's has no name of its own. QEMU before 7.2
 * does not tell: then there is what it was started with.
 */
static enum qmp_end find_device(struct qmp *q, struct guest *g)
{
	struct json list, item = { 0 }, value;
	enum qmp_end end;
	char name[64];

	end = qmp_ask(q, &list, "{\"execute\": \"x-query-virtio\"}");
	if (end == QMP_REFUSED)
		g->asked = read_command_line(g);
	if (end != QMP_ANSWERED)
		return end;
	g->asked = true;
	while (json_next(list, &item))
		if (json_member(item, "name", &value) &&
		    json_text(value, name, sizeof(name)) &&
		    !strcmp(name, "virtio-balloon") &&
		    json_member(item, "path", &value))
			json_text(value, g->device, sizeof(g->device));
	return end;
}

/* Is it so? Nobody asks for a property that is not there. */
static enum qmp_end ask_property(struct qmp *q, const struct guest *g,
				 const char *name, bool *yes)
{
	struct json answer;
	enum qmp_end end;

	end = qmp_ask(q, &answer,
		      "{\"execute\": \"qom-get\", \"arguments\": {\"path\": \"%s\", \"property\": \"%s\"}}",
		      g->device, name);
	*yes = end == QMP_ANSWERED && json_holds(answer, "true");
	return end;
}

/* Has the guest's driver set up a queue? */
static enum qmp_end ask_queue(struct qmp *q, const struct guest *g,
			      unsigned int queue, bool *runs)
{
	struct json answer, place;
	uint64_t address;
	enum qmp_end end;

	end = qmp_ask(q, &answer,
		      "{\"execute\": \"x-query-virtio-queue-status\", \"arguments\": {\"path\": \"%s\", \"queue\": %u}}",
		      g->device, queue);
	*runs = end == QMP_ANSWERED &&
		json_member(answer, "vring-desc", &place) &&
		json_number(place, &address) && address;
	return end;
}

/*
 * What was accepted is seen by the queues. x-query-virtio-status would say it in words,
 * but of a device without a driver it makes QEMU 11.1 abort, and the guest with it.
 */
static enum qmp_end ask_features(struct qmp *q, struct guest *g)
{
	unsigned int queue = QUEUE_AFTER;
	enum qmp_end end;
	size_t i;

	end = ask_queue(q, g, QUEUE_INFLATE, &g->alive);
	g->known = end == QMP_ANSWERED;
	for (i = 0; i < NR_FEATURES && end != QMP_GONE; i++) {
		end = ask_property(q, g, features[i].property, &g->offered[i]);
		if (end == QMP_GONE || !g->offered[i])
			continue;
		end = ask_queue(q, g, queue++, &g->accepted[i]);
		g->known &= end == QMP_ANSWERED;
	}
	return end;
}

static enum qmp_end ask_number(struct qmp *q, const char *question,
			       const char *name, uint64_t *number)
{
	struct json answer, value;
	enum qmp_end end = qmp_ask(q, &answer, "{\"execute\": \"%s\"}", question);

	if (end != QMP_ANSWERED || !json_member(answer, name, &value) ||
	    !json_number(value, number))
		*number = UNKNOWN;
	return end;
}

/* Only where somebody has told QEMU to ask the guest now and then. */
static enum qmp_end ask_statistics(struct qmp *q, struct guest *g)
{
	struct json answer, stats, value;
	enum qmp_end end;

	g->free = UNKNOWN;
	end = qmp_ask(q, &answer,
		      "{\"execute\": \"qom-get\", \"arguments\": {\"path\": \"%s\", \"property\": \"guest-stats\"}}",
		      g->device);
	/* What was never told is all ones. */
	if (end == QMP_ANSWERED && json_member(answer, "stats", &stats) &&
	    json_member(stats, "stat-free-memory", &value))
		json_number(value, &g->free);
	return end;
}

/* Where QEMU has the guest's memory. */
static enum qmp_end ask_place(struct qmp *q, uint64_t *place)
{
	struct json answer;
	const char *at;
	enum qmp_end end;

	*place = 0;
	end = qmp_ask(q, &answer,
		      "{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"gpa2hva 0\"}}");
	if (end != QMP_ANSWERED)
		return end;
	at = memmem(answer.at, answer.len, "is 0x", strlen("is 0x"));
	if (at)
		*place = strtoull(at + strlen("is "), NULL, 16);
	return end;
}

/* What changes from one look to the next. Return: false if there is nothing to see. */
static bool look(struct qmp *q, struct guest *g)
{
	uint64_t place = 0;

	if (q->fd < 0) {
		if (read_mapping(g, 0))
			return true;
		complain("of process %d there is nothing to see: it has ended, or only root and its user see more",
			 (int)g->pid);
		return false;
	}
	if (ask_number(q, "query-balloon", "actual", &g->left) == QMP_GONE ||
	    ask_statistics(q, g) == QMP_GONE ||
	    ask_place(q, &place) == QMP_GONE)
		return false;
	if (place)
		read_mapping(g, place);
	else
		g->resident = UNKNOWN;
	return true;
}

/* Is it a QEMU? Whose monitor a manager has opened, the manager listens there. */
static bool is_qemu(const struct guest *g)
{
	static char text[ARGUMENTS_BYTES];
	size_t len = read_arguments(g, text);

	return memmem(text, len, "qemu-system", strlen("qemu-system")) ||
	       memmem(text, len, "qemu-kvm", strlen("qemu-kvm"));
}

static bool ask_all(struct qmp *q, struct guest *g)
{
	if (!g->pid) {
		g->pid = q->pid;
		if (g->pid && !is_qemu(g))
			g->pid = 0;
	}
	if (ask_number(q, "query-memory-size-summary", "base-memory",
		       &g->memory) == QMP_GONE ||
	    find_device(q, g) == QMP_GONE)
		return false;
	if (g->asked && *g->device == '/' && ask_features(q, g) == QMP_GONE)
		return false;
	read_locked(g);
	return look(q, g);
}

static const char *yes_or_no(bool known, bool yes)
{
	return !known ? "unknown" : yes ? "yes" : "no";
}

static void print_guest(const struct guest *g)
{
	size_t i;

	printf("memory       %s", mib(g->memory));
	if (g->left != UNKNOWN && g->left != g->memory)
		printf(", of which the balloon leaves %s", mib(g->left));
	printf("\nresident     %s", mib(g->resident));
	if (g->resident != UNKNOWN && g->memory != UNKNOWN && g->part < g->memory)
		printf(" of the first %s", mib(g->part));
	if (!g->pid)
		printf(" (QEMU's process is not known: --qemu PID)");
	else if (g->resident == UNKNOWN)
		printf(" (only root, or QEMU's user, sees that)");
	if (g->free != UNKNOWN)
		printf("\nguest says   %s free", mib(g->free));
	printf("\nballoon      %s\n", *g->device ? g->device :
				      g->asked ? "none" : "unknown");
	if (!*g->device)
		return;
	printf("\n%-24s %8s %9s\n", "feature", "offered", "accepted");
	for (i = 0; i < NR_FEATURES; i++) {
		if (!g->known && i != REPORTS)
			continue;
		printf("%-24s %8s %9s\n", features[i].words,
		       yes_or_no(true, g->offered[i]),
		       yes_or_no(g->known, g->accepted[i]));
	}
}

static void advise(const char *what, const char *what_to_do)
{
	printf("\n- %s\n  %s\n", what, what_to_do);
}

/* Return: whether memory comes back, as far as one sees from here. */
static bool judge(const struct guest *g)
{
	if (!g->asked) {
		advise("This QEMU does not tell which virtio devices there are (before 7.2).",
		       "With --qemu PID as well there is what it was started with.");
		return false;
	}
	if (!*g->device) {
		advise("The guest has no balloon device that is QEMU's own.",
		       "-device virtio-balloon-pci,free-page-reporting=on; libvirt: <memballoon model='virtio' freePageReporting='on'/>. (Of a daemon's, hintd's, ask the daemon.)");
		return false;
	}
	if (!g->offered[REPORTS]) {
		advise("The device does not take reports of free pages.",
		       "-device virtio-balloon-pci,free-page-reporting=on; libvirt: <memballoon model='virtio' freePageReporting='on'/>; then start the guest anew.");
		return false;
	}
	if (g->locked != UNKNOWN && g->memory != UNKNOWN &&
	    g->locked > g->memory / 100 * LOCKED_SHARE) {
		advise("QEMU has the guest's memory locked or pinned: what is reported stays.",
		       "Without -overcommit mem-lock=on, and without devices that are passed through, it comes back.");
		return false;
	}
	if (!g->known) {
		advise("Whether the guest takes it is not seen from here.",
		       "--qmp SOCKET asks QEMU; in the guest: aerationctl.");
		return false;
	}
	if (!g->alive) {
		advise("The guest has no driver for the device, or has not come so far yet.",
		       "In the guest: aerationctl explain; or modprobe virtio_balloon.");
		return false;
	}
	if (!g->accepted[REPORTS]) {
		advise("The guest's driver has not accepted it.",
		       "Linux does since 5.7; with aeration, in the guest: aerationctl explain.");
		return false;
	}
	puts("\nIt works: the guest reports free pages to QEMU.");
	if (g->locked == UNKNOWN)
		puts("(Whether QEMU can give them back is not seen: not if its memory is locked, or\na device is passed through.)");
	return true;
}

static enum ctl_exit print_lines(struct qmp *q, struct guest *g,
				 const struct pace *pace)
{
	unsigned long line;

	pace_begin();
	printf("%12s %12s %12s\n", "resident", "guest's free", "balloon");
	for (line = 0; pace_next(pace, line); line++) {
		if (!look(q, g))
			return EXIT_NOT;
		printf("%12s %12s %12s\n", mib(g->resident), mib(g->free),
		       mib(g->left));
		fflush(stdout);
	}
	return EXIT_DONE;
}

/**
 * host_of_qemu - show a guest of QEMU
 * @o: which, and how
 *
 * Return: the exit status: EXIT_DONE if the guest has accepted to report free pages, or
 * after all lines.
 */
enum ctl_exit host_of_qemu(const struct host_options *o)
{
	struct guest g = { .pid = o->pid, .memory = UNKNOWN, .left = UNKNOWN,
			   .free = UNKNOWN };
	struct qmp q = { .fd = -1 };
	enum ctl_exit status = EXIT_NOT;

	if (o->qmp) {
		if (!qmp_open(&q, o->qmp) || !ask_all(&q, &g))
			goto out;
	} else if (!read_command_line(&g)) {
		complain("there is no process %d, or it is another user's",
			 (int)g.pid);
		goto out;
	} else {
		g.asked = true;
		read_locked(&g);
		if (!look(&q, &g))
			goto out;
		g.memory = g.part;
	}
	if (o->lines) {
		status = print_lines(&q, &g, &o->pace);
	} else {
		print_guest(&g);
		status = judge(&g) ? EXIT_DONE : EXIT_NOT;
	}
out:
	qmp_close(&q);
	return status;
}
