// SPDX-License-Identifier: GPL-2.0
/* Numbers and options in the words that people use. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"

/* Texts that may be in use at a time, of those that mib() and seconds() return. */
#define TEXTS		8
#define TEXT_BYTES	32

#define MS_PER_S	((uint64_t)1000)

static char *next_text(void)
{
	static char text[TEXTS][TEXT_BYTES];
	static unsigned int next;

	return text[next++ % TEXTS];
}

/**
 * complain - say on standard error what is wrong
 * @format: as of printf(), without a newline
 */
void complain(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("aerationctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/**
 * mib - an amount of memory, in words
 * @bytes: bytes, or UNKNOWN
 *
 * Return: a text that lives until some more were asked for.
 */
const char *mib(uint64_t bytes)
{
	char *text = next_text();

	if (bytes == UNKNOWN)
		return "unknown";
	snprintf(text, TEXT_BYTES, "%" PRIu64 " MiB",
		 (bytes + MIB / 2) / MIB);
	return text;
}

/**
 * seconds - a time, in words
 * @ms: milliseconds, or UNKNOWN
 *
 * Return: as of mib().
 */
const char *seconds(uint64_t ms)
{
	char *text = next_text();

	if (ms == UNKNOWN)
		return "unknown";
	if (ms % MS_PER_S)
		snprintf(text, TEXT_BYTES, "%" PRIu64 ".%03" PRIu64 " s",
			 ms / MS_PER_S, ms % MS_PER_S);
	else
		snprintf(text, TEXT_BYTES, "%" PRIu64 " s", ms / MS_PER_S);
	return text;
}

/**
 * read_seconds - understand a time
 * @text: a number with "s" or "ms", or of seconds without
 * @ms: set to milliseconds
 *
 * Return: false if it is no time.
 */
bool read_seconds(const char *text, unsigned long *ms)
{
	double value;
	char *end;

	errno = 0;
	value = strtod(text, &end);
	if (*text < '0' || *text > '9' || errno || value > 1e6)
		return false;
	if (!strcmp(end, "ms"))
		value /= (double)MS_PER_S;
	else if (*end && strcmp(end, "s"))
		return false;
	*ms = (unsigned long)(value * (double)MS_PER_S + 0.5);
	return true;
}

/**
 * takes - look for an option, the only one that a command may have
 * @argc: how many arguments there are
 * @argv: they
 * @option: the option, or NULL
 * @given: set to whether it was given; not looked at without @option
 *
 * Return: false, after a complaint, if there is something else.
 */
bool takes(int argc, char **argv, const char *option, bool *given)
{
	int i;

	if (option)
		*given = false;
	for (i = 0; i < argc; i++) {
		if (!option || strcmp(argv[i], option)) {
			complain("\"%s\" is not known here; see aerationctl --help",
				 argv[i]);
			return false;
		}
		*given = true;
	}
	return true;
}
