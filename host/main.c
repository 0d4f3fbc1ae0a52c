// SPDX-License-Identifier: GPL-2.0
/* hintd: a virtio balloon device for QEMU, as a vhost-user daemon. */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "options.h"
#include "sandbox.h"
#include "server.h"

/* Of the control socket: for the daemon's own user. */
#define CONTROL_MODE	0600

static struct balloon balloon;
static struct server server;

/*
 * What is mapped is not there: there is no way back from where it was touched.
 * Linux, sigaction(2): why is in si_code.
 */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
	static const char gone[] =
		"hintd: guest memory went away: its file shrank, or its place is full; it ends\n";
	static const char broken[] =
		"hintd: the machine reports a memory error in guest memory; it ends\n";
	bool hardware = info->si_code == BUS_MCEERR_AR ||
			info->si_code == BUS_MCEERR_AO;

	(void)sig;
	(void)context;
	if (write(STDERR_FILENO, hardware ? broken : gone,
		  hardware ? sizeof(broken) - 1 : sizeof(gone) - 1) < 0)
		_exit(EXIT_SYSTEM);
	_exit(EXIT_MEMORY);
}

static void prepare(const struct options *o)
{
	struct sigaction action = {
		.sa_sigaction = on_bus_error,
		.sa_flags = SA_SIGINFO,
	};

	sigaction(SIGBUS, &action, NULL);
	balloon_init(&balloon, o->wire, BALLOON_FEATURES |
		     (uint64_t)!!o->control << BALLOON_F_FREE_PAGE_HINT,
		     &honest);
	balloon.config.num_pages = o->num_pages;
	balloon.allow_pinned = o->allow_pinned;
	balloon.release.reserved = o->release_reserved;
	server.b = &balloon;
	server.listener.path = o->socket;
	server.listener.fd = o->fd;
	server.listener.mode = o->mode;
	server.listener.user = o->user;
	server.listener.group = o->group;
	server.listener.anybody = o->chosen;
	server.control.listener = (struct listener){
		.path = o->control,
		.fd = -1,
		.mode = CONTROL_MODE,
		.user = o->user,
	};
	server.stats_file = o->stats_file;
	server.live = o->stats;
	server.input = -1;
	peer_prepare();
}

/* Give up all that is not needed. Return: EXIT_ENDED, or why that failed. */
static enum hintd_exit close_doors(const struct options *o)
{
	struct sandbox box;

	if (o->user && !sandbox_user(o->user))
		return EXIT_SANDBOX;
	if (!show_init(&server))
		return EXIT_SYSTEM;
	box.proc = peer_proc();
	box.stats = server.stats_folder;
	box.socket = server.listener.folder;
	box.control = server.control.listener.path ?
			      server.control.listener.folder : -1;
	return o->sandbox && !sandbox_enter(&box) ? EXIT_SANDBOX : EXIT_ENDED;
}

int main(int argc, char **argv)
{
	struct options o;
	enum hintd_exit status;

	if (!options_parse(&o, argc, argv))
		return EXIT_USAGE;
	if (o.print) {
		o.print();
		return EXIT_ENDED;
	}
	prepare(&o);
	status = server_listen(&server);
	if (status)
		return (int)status;
	status = close_doors(&o);
	if (status) {
		control_close(&server.control, &balloon);
		listener_close(&server.listener);
		return (int)status;
	}
	say("listening at %s, wire %s", listener_name(&server.listener),
	    o.wire == WIRE_SG ? "sg" : "hints");
	return (int)server_run(&server);
}
