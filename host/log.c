// SPDX-License-Identifier: GPL-2.0
/*
 * A guest can make the daemon complain as often as it likes, so lines are
 * limited in number and not by who caused them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include "log.h"

/* Lines in a second; what is more is counted and left out. */
#define LINES_A_SECOND	20

static const char *program = "hintd";

/**
 * log_name - set the word that every line begins with
 * @name: name of the program; kept, not copied
 */
void log_name(const char *name)
{
	program = name;
}

/**
 * say - write a line to standard error
 * @fmt: as printf's, without the newline
 *
 * Lines beyond LINES_A_SECOND are counted, and the next one that is written
 * tells how many they were.
 */
void say(const char *fmt, ...)
{
	static unsigned int lines, left_out;
	static time_t second;
	struct timespec now;
	va_list args;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != second) {
		second = now.tv_sec;
		lines = 0;
	}
	if (++lines > LINES_A_SECOND) {
		left_out++;
		return;
	}
	if (left_out)
		fprintf(stderr, "%s: %u lines left out\n", program, left_out);
	left_out = 0;
	fprintf(stderr, "%s: ", program);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}
