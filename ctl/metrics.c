// SPDX-License-Identifier: GPL-2.0
/*
 * Metrics in the text format of Prometheus, version 0.0.4, for node_exporter's textfile
 * collector; in base units, as its naming rules say.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ctl.h"

/* A collector has to be able to read it. */
#define FILE_MODE	0644

static const struct {
	enum number number;
	const char *name;
	const char *type;
	double unit;
	const char *help;
} metrics[] = {
	{ NUMBER_BYTES, "given_bytes_total", "counter", 1,
	  "Memory that the hypervisor has taken." },
	{ NUMBER_RESTORED_BYTES, "restored_bytes_total", "counter", 1,
	  "Memory that was held and has been backed again." },
	{ NUMBER_REGRETTED_BYTES, "regretted_bytes", "gauge", 1,
	  "Memory that was needed again within the window, since that last began anew." },
	{ NUMBER_HELD_BYTES, "held_bytes", "gauge", 1,
	  "Memory that the hypervisor has until it is needed." },
	{ NUMBER_FORFEITED_BYTES, "forfeited_bytes", "gauge", 1,
	  "Memory that the host will not give back." },
	{ NUMBER_IN_FLIGHT_BYTES, "in_flight_bytes", "gauge", 1,
	  "Memory that the hypervisor was told of, and has not acknowledged." },
	{ NUMBER_WINDOW_MS, "window_seconds", "gauge", 0.001,
	  "How long memory must have been free, as it is set." },
	{ NUMBER_WINDOW_NOW_MS, "window_in_force_seconds", "gauge", 0.001,
	  "How long memory must have been free, at present." },
	{ NUMBER_RESERVE_MB, "reserve_bytes", "gauge", 1024 * 1024,
	  "Free memory that is kept." },
	{ NUMBER_STARVED, "starved", "gauge", 1,
	  "Whether memory is needed that the hypervisor cannot give." },
	{ NUMBER_BATCHES, "batches_total", "counter", 1,
	  "Batches that were delivered." },
	{ NUMBER_REFUSED, "refused_blocks_total", "counter", 1,
	  "Blocks that the hypervisor did not take." },
	{ NUMBER_ERRORS, "failed_batches_total", "counter", 1,
	  "Batches of which nothing was delivered." },
	{ NUMBER_TIMEOUTS, "timeouts_total", "counter", 1,
	  "Batches that got no answer in time." },
	{ NUMBER_QUARANTINED, "quarantined_blocks", "gauge", 1,
	  "Blocks that are never used again." },
};

static void print_head(const char *name, const char *type, const char *help,
		       FILE *out)
{
	fprintf(out, "# HELP aeration_%s %s\n# TYPE aeration_%s %s\n", name,
		help, name, type);
}

static void print_state(const struct facts *f, FILE *out)
{
	static const char *const words[] = { "off", "waiting", "running",
					     "failed", "absent" };
	const char *word = f->state == STATE_NOT_LOADED ? "absent" : f->word;
	size_t i;

	print_head("state", "gauge", "What the core does: 1 for the state it is in.",
		   out);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		fprintf(out, "aeration_state{state=\"%s\"} %d\n", words[i],
			!strcmp(word, words[i]));
	if (f->state == STATE_NOT_LOADED)
		return;
	print_head("backend_info", "gauge", "The backend in use.", out);
	fprintf(out, "aeration_backend_info{backend=\"%s\"} 1\n", f->backend);
}

static void print(const struct facts *f, FILE *out)
{
	size_t i;

	print_state(f, out);
	for (i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		uint64_t value = f->number[metrics[i].number];

		if (value == UNKNOWN)
			continue;
		print_head(metrics[i].name, metrics[i].type, metrics[i].help,
			   out);
		if (metrics[i].unit < 1)
			fprintf(out, "aeration_%s %g\n", metrics[i].name,
				(double)value * metrics[i].unit);
		else
			fprintf(out, "aeration_%s %" PRIu64 "\n",
				metrics[i].name,
				value * (uint64_t)metrics[i].unit);
	}
}

/*
 * A file that nobody has put there: in a folder that is somebody else's, what has its name
 * may be a link, or a device.
 */
static FILE *begin_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      0600);

	if (fd < 0 && errno == EEXIST && !unlink(path))
		fd = open(path,
			  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	return fd < 0 ? NULL : fdopen(fd, "w");
}

/* As a whole or not at all: a collector may look at any time. */
static enum ctl_exit replace(const char *path, const struct facts *f)
{
	char draft[PATH_MAX];
	bool well;
	FILE *out;

	if (snprintf(draft, sizeof(draft), "%s.%d", path, (int)getpid()) >=
	    (int)sizeof(draft)) {
		complain("%s: %s", path, strerror(ENAMETOOLONG));
		return EXIT_NOT;
	}
	out = begin_file(draft);
	if (!out) {
		complain("%s: %s", draft, strerror(errno));
		return EXIT_NOT;
	}
	print(f, out);
	well = !fchmod(fileno(out), FILE_MODE);
	if (fclose(out) || !well || rename(draft, path)) {
		complain("%s: %s", path, strerror(errno));
		unlink(draft);
		return EXIT_NOT;
	}
	return EXIT_DONE;
}

/**
 * metrics_command - aerationctl metrics [--output FILE]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit metrics_command(int argc, char **argv)
{
	struct facts f;

	if (argc && (argc != 2 || strcmp(argv[0], "--output"))) {
		complain("metrics takes --output FILE and nothing else");
		return EXIT_USAGE;
	}
	facts_read(&f);
	if (argc)
		return replace(argv[1], &f);
	print(&f, stdout);
	return EXIT_DONE;
}
