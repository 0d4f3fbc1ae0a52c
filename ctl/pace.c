// SPDX-License-Identifier: GPL-2.0
/* Lines that go on until somebody has seen enough. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ctl.h"

#define MS_PER_S	1000
#define NS_PER_MS	1000000L

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

/**
 * pace_option - take an option of the pace, if it is one
 * @name: of the option
 * @value: what follows it, or NULL
 * @pace: what it sets
 *
 * Return: what it is; if it is wrong, that was complained of.
 */
enum pace_option pace_option(const char *name, const char *value,
			     struct pace *pace)
{
	char *end;

	if (strcmp(name, "--interval") && strcmp(name, "--count"))
		return PACE_OTHER;
	if (!value) {
		complain("%s wants a value", name);
		return PACE_WRONG;
	}
	if (!strcmp(name, "--count")) {
		pace->count = strtoul(value, &end, 10);
		if (!*end && pace->count && *value != '-')
			return PACE_TAKEN;
	} else if (read_seconds(value, &pace->ms) && pace->ms) {
		return PACE_TAKEN;
	}
	complain("%s %s: that is none", name, value);
	return PACE_WRONG;
}

/**
 * pace_begin - from now on a signal ends the lines, and not the program
 */
void pace_begin(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/**
 * pace_ended - was there such a signal?
 *
 * Return: whether there was.
 */
bool pace_ended(void)
{
	return ended;
}

/**
 * pace_next - wait for the next line
 * @pace: how many, and how often
 * @line: how many there were
 *
 * Return: false if there are to be no more.
 */
bool pace_next(const struct pace *pace, unsigned long line)
{
	struct timespec left = {
		.tv_sec = (time_t)(pace->ms / MS_PER_S),
		.tv_nsec = (long)(pace->ms % MS_PER_S) * NS_PER_MS,
	};

	if (ended || (pace->count && line >= pace->count))
		return false;
	if (line)
		nanosleep(&left, NULL);
	return !ended;
}
