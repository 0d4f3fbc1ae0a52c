// SPDX-License-Identifier: GPL-2.0
/*
 * A guest can make the daemon complain as often as it likes, so lines are
 * limited in number and not by who caused them. A supervisor that does not read
 * them loses them, and the guest does not wait.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "log.h"

/*
 * So many lines at once, and then one in so many seconds; what is more is counted and left
 * out. A journal keeps what others say, too.
 */
#define LINES_MOST	20
#define LINE_S		6

/*
 * Bytes of a line, more than any has; and less than a pipe that is said to be
 * writable has room for, so that a write does not wait: pipe(7), PIPE_BUF.
 */
#define LINE_BYTES	2048

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
 * log_takes - can a line be written without waiting for somebody to read it?
 * @fd: a terminal, a pipe, a socket or a file
 *
 * Return: whether it can.
 */
bool log_takes(int fd)
{
	struct pollfd out = { .fd = fd, .events = POLLOUT };

	return poll(&out, 1, 0) == 1 && out.revents & POLLOUT;
}

static bool put(const char *fmt, va_list args, unsigned int left_out)
{
	char line[LINE_BYTES];
	int size = 0;

	if (!log_takes(STDERR_FILENO))
		return false;
	if (left_out)
		size = snprintf(line, sizeof(line), "%s: %u lines left out\n",
				program, left_out);
	size += snprintf(line + size, sizeof(line) - (size_t)size, "%s: ",
			 program);
	size += vsnprintf(line + size, sizeof(line) - (size_t)size, fmt, args);
	if (size > (int)sizeof(line) - 1)
		size = sizeof(line) - 1;
	line[size] = '\n';
	return write(STDERR_FILENO, line, (size_t)size + 1) == size + 1;
}

/**
 * say - write a line to standard error
 * @fmt: as printf's, without the newline
 *
 * Lines beyond what LINES_MOST and LINE_S allow, and those that nobody takes, are counted,
 * and the next one that is written tells how many they were.
 */
void say(const char *fmt, ...)
{
	static unsigned int lines = LINES_MOST, left_out;
	static time_t since;
	struct timespec now;
	time_t more;
	va_list args;

	clock_gettime(CLOCK_MONOTONIC, &now);
	more = (now.tv_sec - since) / LINE_S;
	since += more * LINE_S;
	lines = more < LINES_MOST - (time_t)lines ? lines + (unsigned int)more :
						    LINES_MOST;
	va_start(args, fmt);
	if (lines && put(fmt, args, left_out)) {
		left_out = 0;
		lines--;
	} else {
		left_out++;
	}
	va_end(args);
}
