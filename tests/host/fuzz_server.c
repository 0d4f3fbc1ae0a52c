// SPDX-License-Identifier: GPL-2.0
/*
 * The daemon as a whole, from the first connection to its end: any front-ends,
 * one after the other, with any messages; it serves them, writes its statistics
 * and ends, and keeps no descriptor.
 *
 * Input: a byte of how it is started, then records.h for the first front-end, a
 * record of size 0 and records for the next one.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "records.h"
#include "server.h"

/* Front-ends; more than may wait. */
#define FRONT_ENDS	3

/* Turns after which a daemon that has nothing to do is ended. */
#define TURNS		64

#define HOW_HANDED_DOWN	1	/* a connection, not a listener */
#define HOW_LIVE	2
#define HOW_FILE	4

#define LOOKED_AT	96

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int turns;

/* Asked in each turn, as its descriptor is readable always. */
static bool obey(struct balloon *b)
{
	(void)b;
	return turns++ < TURNS;
}

static int open_fds(void)
{
	int fd, nr = 0;

	for (fd = 0; fd < LOOKED_AT; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* A listener at a name that the system chooses, in no folder. */
static int listener(struct sockaddr_un *addr, socklen_t *size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	MUST(!bind(fd, (struct sockaddr *)addr, sizeof(sa_family_t)));
	*size = sizeof(*addr);
	MUST(!getsockname(fd, (struct sockaddr *)addr, size));
	MUST(!listen(fd, FRONT_ENDS));
	return fd;
}

/* Where the statistics go: a folder that is made once, and goes in the end. */
static char folder[] = "/tmp/fuzz_server.XXXXXX";
static char stats_file[sizeof(folder) + sizeof("/stats")];

static void remove_folder(void)
{
	unlink(stats_file);
	rmdir(folder);
}

static void make_folder(void)
{
	MUST(mkdtemp(folder));
	snprintf(stats_file, sizeof(stats_file), "%s/stats", folder);
	atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench *t = bench(WIRE_SG);
	static int always[2], nowhere;
	static struct server s;
	struct sockaddr_un addr;
	int sock[FRONT_ENDS], pair[2], nr = 0, fds, how;
	socklen_t length;

	if (size < 1)
		return 0;
	how = *data++;
	size--;
	records_prepare(t);
	peer_prepare();
	if (!nowhere) {
		make_folder();
		MUST(!pipe(always) && write(always[1], "", 1) == 1);
		nowhere = open("/dev/null", O_WRONLY);
		MUST(dup2(nowhere, STDOUT_FILENO) == STDOUT_FILENO);
	}
	fds = open_fds();
	memset(&s, 0, sizeof(s));
	s.b = &t->b;
	s.input = always[0];
	s.obey = obey;
	s.signals = -1;
	s.live = how & HOW_LIVE;
	s.stats_file = how & HOW_FILE ? stats_file : NULL;
	if (how & HOW_HANDED_DOWN) {
		MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				 pair));
		s.listener.fd = pair[0];
		sock[nr++] = pair[1];
	} else {
		s.listener.fd = listener(&addr, &length);
		for (; nr < FRONT_ENDS; nr++) {
			sock[nr] = socket(AF_UNIX, SOCK_STREAM, 0);
			MUST(!connect(sock[nr], (struct sockaddr *)&addr,
				      length));
		}
	}
	MUST(listener_open(&s.listener) && control_open(&s.control) &&
	     show_init(&s));
	for (int i = 0; i < nr; i++) {
		while (records_send(t, sock[i], &data, &size))
			;
		shutdown(sock[i], SHUT_WR);
	}
	bench_put_report(t);
	t->b.wire = WIRE_HINTS;
	turns = 0;
	MUST(server_run(&s) == EXIT_ENDED);
	for (int i = 0; i < nr; i++)
		close(sock[i]);
	if (s.stats_folder >= 0)
		close(s.stats_folder);
	MUST(!t->b.mem.nr && t->b.peer.status < 0);
	MUST(t->b.stats.connections <= (uint64_t)nr);
	close(peer_proc());
	MUST(open_fds() == fds - 1);
	return 0;
}
