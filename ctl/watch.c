// SPDX-License-Identifier: GPL-2.0
/* What happens, a line each second. */
#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include "ctl.h"

/* Columns of the picture of free memory, and lines until the heading is repeated. */
#define HISTORY		20
#define HEADING_EVERY	20

static bool read_options(int argc, char **argv, struct pace *pace)
{
	int i;

	for (i = 0; i < argc; i += 2) {
		switch (pace_option(argv[i], i + 1 < argc ? argv[i + 1] : NULL,
				    pace)) {
		case PACE_TAKEN:
			break;
		case PACE_OTHER:
			complain("\"%s\" is not known here; see aerationctl --help",
				 argv[i]);
			return false;
		case PACE_WRONG:
			return false;
		}
	}
	return true;
}

/* How much of all memory is free, the newest to the right. */
static void draw(const unsigned int *eighths, unsigned int nr)
{
	static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆",
					      "▇", "█" };
	static const char *const plain[] = { " ", ".", ":", "-", "=", "+", "*",
					     "%", "#" };
	bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	unsigned int i;

	for (i = 0; i < nr; i++)
		fputs((utf8 ? blocks : plain)[eighths[i]], stdout);
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now == UNKNOWN || before == UNKNOWN || now < before ?
		       0 : now - before;
}

static void print_line(const struct facts *f, const struct facts *before,
		       const unsigned int *eighths, unsigned int nr)
{
	const uint64_t *now = f->number, *was = before->number;

	printf("%-8s %10s %10s %10s %10s  ",
	       *f->word ? f->word : "absent", mib(f->free),
	       mib(grown(now[NUMBER_BYTES], was[NUMBER_BYTES])),
	       mib(facts_durable(f) ? grown(now[NUMBER_RESTORED_BYTES],
					    was[NUMBER_RESTORED_BYTES]) :
				      grown(now[NUMBER_REGRETTED_BYTES],
					    was[NUMBER_REGRETTED_BYTES])),
	       mib(facts_durable(f) ? now[NUMBER_HELD_BYTES] : 0));
	draw(eighths, nr);
	putchar('\n');
	fflush(stdout);
}

/* Return: eighths of all memory that are free. */
static unsigned int eighths_free(const struct facts *f)
{
	if (!f->total || f->total == UNKNOWN || f->free > f->total)
		return 0;
	return (unsigned int)((f->free * 8 + f->total / 2) / f->total);
}

/**
 * watch_command - aerationctl watch [--interval TIME] [--count LINES]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit watch_command(int argc, char **argv)
{
	unsigned int eighths[HISTORY], nr = 0;
	struct facts now, before;
	struct pace pace = PACE;
	unsigned long line;

	if (!read_options(argc, argv, &pace))
		return EXIT_USAGE;
	setlocale(LC_CTYPE, "");
	pace_begin();
	facts_read(&before);
	if (before.state == STATE_NOT_LOADED) {
		complain("aeration is not loaded; \"aerationctl explain\" says more");
		return EXIT_NOT_LOADED;
	}
	for (line = 0; pace_next(&pace, line); line++) {
		if (!(line % HEADING_EVERY))
			printf("%-8s %10s %10s %10s %10s  %s\n", "state", "free",
			       "given", "taken back", "held", "free, of all");
		facts_read(&now);
		if (nr == HISTORY)
			memmove(eighths, eighths + 1, --nr * sizeof(eighths[0]));
		eighths[nr++] = eighths_free(&now);
		print_line(&now, &before, eighths, nr);
		before = now;
	}
	return ferror(stdout) ? EXIT_NOT : EXIT_DONE;
}
