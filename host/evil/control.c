// SPDX-License-Identifier: GPL-2.0
/*
 * Commands on standard input, one a line; each is answered by one line.
 *
 *	mode NAME	be evil in this way
 *	role ROLE	to this queue: inflate, deflate, stats, hinting or reporting
 *	delay MS	how long a while is
 *	hint		ask the guest for all that is free; "busy" if that cannot be
 *	unhint		do not ask it any more
 *	start [ACK]	in mode firecracker: begin a hint run, which is done when the
 *			guest is if anything follows
 *	stop		and be done
 *	transcript	what the guest has said in that mode, as JSON
 *	target PAGES	ask the guest to give up so many pages of 4 KiB
 *	number WHAT	from now on, before a driver comes, the queues are numbered by
 *			what is "accepted", "offered", or "fixed"
 *	stats		statistics as JSON
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "evil.h"

#define LINE_MAX_BYTES	256
#define NS_PER_MS	1000000ULL

static bool set_mode(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_MODES; i++)
		if (!strcmp(name, mode_names[i])) {
			evil.mode = (enum mode)i;
			return true;
		}
	return false;
}

static bool set_role(const char *name)
{
	if (!strcmp(name, "inflate"))
		evil.role = ROLE_INFLATE;
	else if (!strcmp(name, "deflate"))
		evil.role = ROLE_DEFLATE;
	else if (!strcmp(name, "stats"))
		evil.role = ROLE_STATS;
	else if (!strcmp(name, "hinting"))
		evil.role = ROLE_HINTING;
	else if (!strcmp(name, "reporting"))
		evil.role = ROLE_REPORTING;
	else
		return false;
	return true;
}

static bool set_numbers(struct balloon *b, const char *what)
{
	if (!strcmp(what, "accepted"))
		b->counted = 0;
	else if (!strcmp(what, "offered"))
		b->counted = b->offered;
	else if (!strcmp(what, "fixed"))
		b->counted = ~0ULL;
	else
		return false;
	return true;
}

static void set_target(struct balloon *b, const char *pages)
{
	b->config.num_pages = (uint32_t)strtoul(pages, NULL, 10);
	b->config_changed = true;
}

static void show(struct balloon *b)
{
	/* Two objects: our own, a tab, and the statistics of any device. */
	printf("{\"empty_irqs\": %" PRIu64 ", \"storms\": %" PRIu64
	       ", \"retaken\": %" PRIu64
	       ", \"resets\": %" PRIu64 ", \"late\": %" PRIu64
	       ", \"late_bytes\": %" PRIu64 ", \"config\": [%u, %u, %u, %u]}\t",
	       evil.empty_irqs, evil.storms, evil.retaken, evil.resets, evil.late,
	       evil.late_bytes,
	       b->config.num_pages, b->config.actual, b->config.hint_cmd,
	       b->config.poison_val);
	stats_json(&b->stats, memory_backed(&b->mem), stdout);
}

static void obey_line(struct balloon *b, char *line)
{
	char *value = strchr(line, ' ');
	bool ok = true;

	if (value)
		*value++ = '\0';
	else
		value = line + strlen(line);
	if (!strcmp(line, "stats")) {
		show(b);
		return;
	}
	if (!strcmp(line, "transcript")) {
		firecracker_show();
		putchar('\n');
		return;
	}
	if (!strcmp(line, "hint")) {
		puts(hints_ask(b) ? "busy" : "ok");
		return;
	}
	if (!strcmp(line, "mode"))
		ok = set_mode(value);
	else if (!strcmp(line, "role"))
		ok = set_role(value);
	else if (!strcmp(line, "delay"))
		evil.delay_ns = strtoull(value, NULL, 10) * NS_PER_MS;
	else if (!strcmp(line, "start"))
		firecracker_start(b, *value);
	else if (!strcmp(line, "stop"))
		firecracker_stop(b);
	else if (!strcmp(line, "unhint"))
		hints_stop(b, "evil");
	else if (!strcmp(line, "number"))
		ok = set_numbers(b, value);
	else if (!strcmp(line, "target"))
		set_target(b, value);
	else
		ok = false;
	puts(ok ? "ok" : "unknown");
}

/**
 * control_obey - do what standard input says
 * @b: the device
 *
 * Return: false at its end, or if a line is too long.
 */
bool control_obey(struct balloon *b)
{
	static char line[LINE_MAX_BYTES];
	static size_t have;
	ssize_t got = read(STDIN_FILENO, line + have, sizeof(line) - have);
	char *end;

	if (got <= 0)
		return false;
	have += (size_t)got;
	while ((end = memchr(line, '\n', have))) {
		*end++ = '\0';
		obey_line(b, line);
		have -= (size_t)(end - line);
		memmove(line, end, have);
	}
	fflush(stdout);
	return have < sizeof(line);
}
