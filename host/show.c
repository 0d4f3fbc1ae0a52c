// SPDX-License-Identifier: GPL-2.0
/* Statistics while the daemon runs: the live line and the file. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "log.h"
#include "sandbox.h"
#include "server.h"

#define NS_PER_MS	1000000ULL

/* How often the file is looked after, ns. */
#define FILE_NS		(200 * NS_PER_MS)

/* How often the line is shown, and the guest asked for its own, ns. */
#define LINE_NS		(1000 * NS_PER_MS)

/* Bytes of a file's name and of what is added to it. */
#define NAME_BYTES	(NAME_MAX + 8)

static const char *name_of(const struct server *s)
{
	const char *slash = strrchr(s->stats_file, '/');

	return slash ? slash + 1 : s->stats_file;
}

/*
 * Written beside it and renamed, so that a reader finds all or nothing. What is
 * in the way is removed, and never followed.
 */
static bool write_file(struct server *s)
{
	char name[NAME_BYTES];
	FILE *out;
	bool ok;
	int fd;

	if (snprintf(name, sizeof(name), "%s.new", name_of(s)) >=
	    (int)sizeof(name)) {
		errno = ENAMETOOLONG;
		return false;
	}
	unlinkat(s->stats_folder, name, 0);
	/* By number, so that no library adds a flag. */
	fd = (int)syscall(SYS_openat, s->stats_folder, name, SANDBOX_CREATE,
			  0644);
	if (fd < 0)
		return false;
	out = fdopen(fd, "w");
	if (!out) {
		close(fd);
		unlinkat(s->stats_folder, name, 0);
		return false;
	}
	stats_json(&s->b->stats, memory_backed(&s->b->mem), out);
	ok = !ferror(out);
	ok = !fclose(out) && ok;
	ok = ok && !renameat(s->stats_folder, name, s->stats_folder,
			     name_of(s));
	if (!ok)
		unlinkat(s->stats_folder, name, 0);
	return ok;
}

static void show_line(struct server *s, uint64_t now)
{
	/* A reader that is slow misses a line; the guest does not wait. */
	if (!log_takes(STDOUT_FILENO)) {
		s->shown = s->b->stats;
		return;
	}
	if (s->terminal)
		fputs("\r\x1b[K", stdout);
	stats_line(&s->b->stats, &s->shown, (now - s->line_ns) / NS_PER_MS,
		   stdout);
	if (!s->terminal)
		putchar('\n');
	fflush(stdout);
	s->shown = s->b->stats;
}

/**
 * show_init - show statistics for the first time
 * @s: the daemon, before the sandbox
 *
 * Return: false if the file cannot be written; the reason is told.
 */
bool show_init(struct server *s)
{
	char copy[PATH_MAX];

	s->stats_folder = -1;
	s->terminal = isatty(STDOUT_FILENO);
	if (s->stats_file && strlen(s->stats_file) < sizeof(copy)) {
		strcpy(copy, s->stats_file);
		s->stats_folder = open(dirname(copy),
				       O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
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
	if (write_file(s))
		s->written = s->b->stats;
	else
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
		if (s->terminal)
			putchar('\n');
	}
	if (s->stats_file && !write_file(s))
		say("cannot write statistics to %s: %s", s->stats_file,
		    strerror(errno));
}
