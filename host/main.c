// SPDX-License-Identifier: GPL-2.0
/* hintd: a virtio balloon device for QEMU, as a vhost-user daemon. */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "options.h"
#include "sandbox.h"
#include "server.h"

static struct balloon balloon;
static struct server server;

/*
 * A front-end has made a file smaller that it gave us as memory: what is mapped
 * is not there any more, and there is no way back from where it was touched.
 */
static void on_bus_error(int sig)
{
	static const char text[] =
		"hintd: guest memory went away under the daemon; it ends\n";

	(void)sig;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_SYSTEM);
	_exit(EXIT_MEMORY);
}

int main(int argc, char **argv)
{
	struct options o;
	enum hintd_exit status;

	if (!options_parse(&o, argc, argv))
		return EXIT_USAGE;
	if (o.help) {
		options_help();
		return EXIT_ENDED;
	}
	balloon_init(&balloon, o.wire, BALLOON_FEATURES, &honest);
	balloon.config.num_pages = o.num_pages;
	server.b = &balloon;
	server.path = o.socket;
	server.stats_file = o.stats_file;
	server.live = o.stats;
	server.input = -1;
	signal(SIGBUS, on_bus_error);
	status = server_listen(&server);
	if (status)
		return (int)status;
	if (o.sandbox && !sandbox_enter(o.stats_file)) {
		unlink(o.socket);
		return EXIT_SANDBOX;
	}
	say("listening at %s, wire %s", o.socket,
	    o.wire == WIRE_SG ? "sg" : "hints");
	return (int)server_run(&server);
}
