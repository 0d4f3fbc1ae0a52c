// SPDX-License-Identifier: GPL-2.0
/* aerationctl squeeze: have cold cache taken and given back, and say what came of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"

#define SQUEEZED	"/sys/kernel/aeration/squeezed/"

/* Longest order, in the kernel's words, with the closing zero. */
#define ORDER_SIZE	96

/* How long it may take if nobody says, ms: the kernel's own default. */
#define WITHIN_MS	5000

static bool read_number(const char *name, uint64_t *value)
{
	char line[LINE_MAX_BYTES];

	return facts_line(name, line) && sscanf(line, "%" SCNu64, value) == 1;
}

/* What came of each stage; nothing is said that the kernel does not say. */
static void say_stages(void)
{
	uint64_t reclaimed, compacted;
	char why[LINE_MAX_BYTES];

	if (!read_number(SQUEEZED "reclaimed_bytes", &reclaimed) ||
	    !read_number(SQUEEZED "compacted_bytes", &compacted) ||
	    !facts_line(SQUEEZED "ended_by", why))
		return;
	printf("%s taken from cache; it ended with: %s\n", mib(reclaimed), why);
	printf("%s came into large blocks by compaction\n", mib(compacted));
}

/**
 * struct squeeze - what is asked for
 * @to: what the guest is to use, bytes with a unit, or NULL
 * @percent: of what is cached this stays, or NULL
 * @ms: how long it may take
 */
struct squeeze {
	const char *to;
	const char *percent;
	unsigned long ms;
};

static bool is_percent(const char *text)
{
	char *end;

	return *text >= '0' && *text <= '9' && strtoul(text, &end, 10) <= 100 &&
	       !*end;
}

/* One option and its value. Return: false if it is wrong, which has been said. */
static bool squeeze_option(const char *name, const char *value,
			   struct squeeze *squeeze)
{
	char *end;

	if (!strcmp(name, "--to") && value) {
		squeeze->to = value;
		if (strtoul(value, &end, 10) && *value != '-' &&
		    (!*end || (strchr("KMGT", *end) && !end[1])))
			return true;
		complain("--to wants what the guest may use, such as 512M or 2G");
		return false;
	}
	if (!strcmp(name, "--cache") && value) {
		squeeze->percent = value;
		if (is_percent(value))
			return true;
		complain("--cache wants what stays of it in percent, 0 to 100");
		return false;
	}
	if (!strcmp(name, "--within") && value) {
		if (read_seconds(value, &squeeze->ms) && squeeze->ms)
			return true;
		complain("--within wants a time, such as 5s or 500ms");
		return false;
	}
	complain("squeeze takes --to SIZE, --cache PERCENT and --within TIME");
	return false;
}

/**
 * squeeze_command - aerationctl squeeze [--to SIZE | --cache PERCENT] [--within TIME]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit squeeze_command(int argc, char **argv)
{
	struct squeeze squeeze = { .ms = WITHIN_MS };
	enum ctl_exit done;
	char order[ORDER_SIZE];
	int i;

	for (i = 0; i < argc; i += 2)
		if (!squeeze_option(argv[i], i + 1 < argc ? argv[i + 1] : NULL,
				    &squeeze))
			return EXIT_USAGE;
	if (squeeze.to && squeeze.percent) {
		complain("squeeze takes --to or --cache, not both");
		return EXIT_USAGE;
	}
	if (snprintf(order, sizeof(order), "squeeze within=%lu%s%s%s%s",
		     squeeze.ms, squeeze.to ? " to=" : "",
		     squeeze.to ? squeeze.to : "",
		     squeeze.percent ? " cache=" : "",
		     squeeze.percent ? squeeze.percent : "") >= ORDER_SIZE) {
		complain("squeeze: what is asked for is too long");
		return EXIT_USAGE;
	}
	done = ask_kernel(order, "squeeze", true, "given back");
	if (done == EXIT_DONE)
		say_stages();
	return done;
}
