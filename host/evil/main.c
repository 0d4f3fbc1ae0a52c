// SPDX-License-Identifier: GPL-2.0
/*
 * evild: hintd's hostile twin, for tests.
 *
 *	evild SOCKET WIRE FEATURES
 *
 * FEATURES is a number, 0 for what hintd offers. Commands: control.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../log.h"
#include "../server.h"
#include "evil.h"

static struct balloon balloon;

int main(int argc, char **argv)
{
	struct server server = {
		.b = &balloon,
		.tick_ns = NEVER_NS,
		.stats_folder = -1,
		.input = STDIN_FILENO,
		.obey = control_obey,
	};
	uint64_t features;
	enum hintd_exit status;

	log_name("evild");
	if (argc != 4) {
		say("usage: evild SOCKET sg|hints FEATURES");
		return EXIT_USAGE;
	}
	features = strtoull(argv[3], NULL, 0);
	server.listener = (struct listener){
		.path = argv[1],
		.fd = -1,
		.mode = 0600,
	};
	peer_prepare();
	balloon_init(&balloon, strcmp(argv[2], "sg") ? WIRE_HINTS : WIRE_SG,
		     features ? features : BALLOON_FEATURES, &evil_behaviour);
	status = server_listen(&server);
	if (status)
		return (int)status;
	puts("ready");
	fflush(stdout);
	return (int)server_run(&server);
}
