/* SPDX-License-Identifier: GPL-2.0 */
/* The commands of aerationctl. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdio.h>
#include "facts.h"

/**
 * enum ctl_exit - exit statuses, as in aerationctl.8
 * @EXIT_DONE: it is done; for status and explain: memory goes back
 * @EXIT_NOT: it could not be done; for status and explain: it does not go back
 * @EXIT_USAGE: the command line is wrong
 * @EXIT_NOT_LOADED: there is no aeration in this kernel
 * @EXIT_ROOT: only root may
 */
enum ctl_exit {
	EXIT_DONE = 0,
	EXIT_NOT = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_LOADED = 3,
	EXIT_ROOT = 4,
};

/* Where messages go that are no output: on standard error, after the program's name. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Each takes its own arguments, without its name. */
enum ctl_exit status_command(int argc, char **argv);
enum ctl_exit watch_command(int argc, char **argv);
enum ctl_exit explain_command(int argc, char **argv);
enum ctl_exit metrics_command(int argc, char **argv);
enum ctl_exit report_command(int argc, char **argv);
enum ctl_exit flush_command(int argc, char **argv);
enum ctl_exit squeeze_command(int argc, char **argv);
enum ctl_exit restore_command(int argc, char **argv);
enum ctl_exit on_command(int argc, char **argv);
enum ctl_exit off_command(int argc, char **argv);
enum ctl_exit set_command(int argc, char **argv);
enum ctl_exit host_command(int argc, char **argv);

/* ask.c: what others ask of the kernel, too. */
enum ctl_exit ask_kernel(const char *order, const char *what, bool wait,
			 const char *words);

/* status.c: what others print of it, too. */
void status_print(const struct facts *f, FILE *out);

/**
 * struct pace - of lines that go on
 * @ms: between two of them
 * @count: how many, or 0: until they are interrupted
 */
struct pace {
	unsigned long ms;
	unsigned long count;
};

#define PACE	{ .ms = 1000, .count = 0 }

/**
 * enum pace_option - what an option is
 * @PACE_OTHER: none of the pace
 * @PACE_TAKEN: one of the pace, which was taken
 * @PACE_WRONG: one of the pace, with a wrong value
 */
enum pace_option {
	PACE_OTHER,
	PACE_TAKEN,
	PACE_WRONG,
};

/* pace.c */
enum pace_option pace_option(const char *name, const char *value,
			     struct pace *pace);
void pace_begin(void);
bool pace_ended(void);
bool pace_next(const struct pace *pace, unsigned long line);

/* words.c */
const char *mib(uint64_t bytes);
const char *seconds(uint64_t ms);
bool read_seconds(const char *text, unsigned long *ms);
bool takes(int argc, char **argv, const char *option, bool *given);

#endif /* CTL_CTL_H */
