/* SPDX-License-Identifier: GPL-2.0 */
/* The command line. */
#ifndef HINTD_OPTIONS_H
#define HINTD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "balloon.h"

/**
 * struct options - what the command line says
 * @socket: where to listen, or NULL
 * @fd: a socket that was handed down, or -1
 * @control: where to listen for who asks for something, or NULL
 * @mode: permissions of the socket that is made
 * @chosen: permissions or group of the socket were given
 * @group: of the socket that is made, or NULL
 * @user: to become, or NULL
 * @stats_file: where to keep statistics, or NULL
 * @wire: how reports look
 * @num_pages: pages of 4 KiB that the guest is asked to give up
 * @stats: show a live line
 * @sandbox: drop privileges
 * @allow_pinned: release memory even if the front-end has pinned some
 * @release_reserved: release memory whose place others could take
 * @print: print this and do nothing else
 */
struct options {
	const char *socket;
	int fd;
	const char *control;
	mode_t mode;
	bool chosen;
	const char *group;
	const char *user;
	const char *stats_file;
	enum wire wire;
	uint32_t num_pages;
	bool stats;
	bool sandbox;
	bool allow_pinned;
	bool release_reserved;
	void (*print)(void);
};

bool options_parse(struct options *o, int argc, char **argv);

#endif /* HINTD_OPTIONS_H */
