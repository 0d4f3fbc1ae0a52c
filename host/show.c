// SPDX-License-Identifier: GPL-2.0
/* Statistics while the daemon runs: the live line and the file. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "server.h"

#define NS_PER_MS	1000000ULL

/* How often the file is looked after, ns. */
#define FILE_NS		(200 * NS_PER_MS)

/* How often the line is shown, and the guest asked for its own, ns. */
#define LINE_NS		(1000 * NS_PER_MS)

/* Written beside it and renamed, so that a reader finds all or nothing. */
static bool write_file(struct server *s)
{
	char path[PATH_MAX];
	FILE *out;
	bool ok;

	if (snprintf(path, sizeof(path), "%s.new", s->stats_file) >=
	    (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return false;
	}
	out = fopen(path, "we");
	if (!out)
		return false;
	stats_json(&s->b->stats, memory_backed(&s->b->mem), out);
	ok = !ferror(out);
	ok = !fclose(out) && ok;
	return ok && !rename(path, s->stats_file);
}

static void show_line(struct server *s, uint64_t now)
{
	bool over = isatty(STDOUT_FILENO);

	if (over)
		fputs("\r\x1b[K", stdout);
	stats_line(&s->b->stats, &s->shown, (now - s->line_ns) / NS_PER_MS,
		   stdout);
	if (!over)
		putchar('\n');
	fflush(stdout);
	s->shown = s->b->stats;
}

/**
 * show_init - show statistics for the first time
 * @s: the daemon
 *
 * Return: false if the file cannot be written; the reason is told.
 */
bool show_init(struct server *s)
{
	s->tick_ns = s->stats_file || s->live ? now_ns() + FILE_NS : NEVER_NS;
	s->line_ns = now_ns();
	if (!s->stats_file || write_file(s))
		return true;
	say("cannot write statistics to %s: %s", s->stats_file,
	    strerror(errno));
	return false;
}

/**
 * show - show statistics if it is time to
 * @s: the daemon, at its tick or later
 */
void show(struct server *s)
{
	uint64_t now = now_ns();

	s->tick_ns = now + FILE_NS;
	if (now >= s->line_ns + LINE_NS) {
		balloon_ask_stats(s->b);
		if (s->live)
			show_line(s, now);
		s->line_ns = now;
	}
	if (!s->stats_file ||
	    !memcmp(&s->written, &s->b->stats, sizeof(s->written)))
		return;
	s->written = s->b->stats;
	if (!write_file(s))
		say("cannot write statistics to %s: %s; trying on",
		    s->stats_file, strerror(errno));
}

/**
 * show_end - show statistics for the last time
 * @s: the daemon
 */
void show_end(struct server *s)
{
	uint64_t now = now_ns();

	if (s->live) {
		s->line_ns = now - s->line_ns < NS_PER_MS ? now - NS_PER_MS :
							    s->line_ns;
		show_line(s, now);
		if (isatty(STDOUT_FILENO))
			putchar('\n');
	}
	if (s->stats_file && !write_file(s))
		say("cannot write statistics to %s: %s", s->stats_file,
		    strerror(errno));
}
