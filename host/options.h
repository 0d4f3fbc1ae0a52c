/* SPDX-License-Identifier: GPL-2.0 */
/* The command line. */
#ifndef HINTD_OPTIONS_H
#define HINTD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include "balloon.h"

/**
 * struct options - what the command line says
 * @socket: where to listen
 * @stats_file: where to keep statistics, or NULL
 * @wire: how reports look
 * @num_pages: pages of 4 KiB that the guest is asked to give up
 * @stats: show a live line
 * @sandbox: drop privileges
 * @help: only print help
 */
struct options {
	const char *socket;
	const char *stats_file;
	enum wire wire;
	uint32_t num_pages;
	bool stats;
	bool sandbox;
	bool help;
};

bool options_parse(struct options *o, int argc, char **argv);
void options_help(void);

#endif /* HINTD_OPTIONS_H */
