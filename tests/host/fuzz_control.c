// SPDX-License-Identifier: GPL-2.0
/*
 * Any clients of the control socket, with any words, and a guest that is asked: each is
 * answered or hung up on, nobody is waited for, and no descriptor is kept.
 *
 * Input: pieces of a byte of what happens and whose doing it is, a byte of how long the
 * rest is, and the rest.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bench.h"
#include "control.h"

/* What happens, besides what a client says: bits 0 to 1 of the first byte. */
enum event {
	EVENT_SAYS,
	EVENT_ENDS,	/* says nothing more, and listens */
	EVENT_GOES,
	EVENT_GUEST,	/* the guest says a word on the hinting queue, or has read */
	NR_EVENTS
};

#define LOOKED_AT	96

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int open_fds(void)
{
	int fd, nr = 0;

	for (fd = 0; fd < LOOKED_AT; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/* The daemon's part of a turn. */
static void turn(struct control *c, struct balloon *b)
{
	struct pollfd fds[CONTROL_PLACES];

	control_fill(c, fds);
	MUST(poll(fds, CONTROL_PLACES, 0) >= 0);
	control_serve(c, b, fds);
	b->config_unread += b->config_changed;
	b->config_changed = false;
	control_answer(c, b);
}

static void guest_says(struct balloon *b, const uint8_t *what, size_t size)
{
	uint32_t word;

	if (size < sizeof(word)) {
		b->config_unread = 0;
		return;
	}
	memcpy(&word, what, sizeof(word));
	hints_taking(b);
	hints_word(b, word);
	if (size > sizeof(word))
		hints_untake(b);
	hints_settle(b);
}

/* Send it; return how many commands that is. */
static unsigned int say_lines(int sock, const uint8_t *data, size_t size)
{
	ssize_t sent = send(sock, data, size, MSG_NOSIGNAL);
	unsigned int nr = 0;

	while (sent-- > 0)
		nr += data[sent] == '\n';
	return nr;
}

/* @open has what each has said and not been answered yet. */
static void happen(struct control *c, struct balloon *b, int *sock,
		   unsigned int *open, uint8_t what, const uint8_t *data, size_t size)
{
	unsigned int whose = what / NR_EVENTS % CONTROL_CLIENTS;
	int pair[2];

	if (what % NR_EVENTS == EVENT_GUEST) {
		guest_says(b, data, size);
		return;
	}
	if (sock[whose] < 0 && c->client[whose].fd >= 0)
		return;	/* the last one there has not been hung up on yet */
	if (sock[whose] < 0) {
		MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
				 pair));
		client_connect(&c->client[whose], pair[0]);
		sock[whose] = pair[1];
		open[whose] = 1;	/* one that has no end is answered, too */
	}
	if (what % NR_EVENTS == EVENT_SAYS) {
		open[whose] += say_lines(sock[whose], data, size);
	} else if (what % NR_EVENTS == EVENT_ENDS) {
		shutdown(sock[whose], SHUT_WR);
	} else {
		close(sock[whose]);
		sock[whose] = -1;
	}
}

/* Each line that a client has got is an answer, and answers what it has said. */
static void look(int sock, unsigned int *open)
{
	char text[CLIENT_ANSWER * 4];
	ssize_t got = recv(sock, text, sizeof(text) - 1, 0);
	char *line, *end;

	if (got <= 0)
		return;
	text[got] = '\0';
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		MUST(!strncmp(line, "ok", 2) || !strncmp(line, "error ", 6));
		MUST((*open)--);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bench *t = bench(WIRE_SG);
	unsigned int open[CONTROL_CLIENTS] = { 0 };
	int sock[CONTROL_CLIENTS], fds, i;
	struct control c = { 0 };
	struct queue *q;
	size_t length;

	t->b.acked |= 1ULL << BALLOON_F_FREE_PAGE_HINT;
	bench_add_memory(t);
	q = bench_queue(t, ROLE_HINTING, 8, 0, 0, 0x400, 0x800);
	MUST(q && control_open(&c));
	fds = open_fds();
	for (i = 0; i < CONTROL_CLIENTS; i++)
		sock[i] = -1;
	for (; size >= 2; data += 2 + length, size -= 2 + length) {
		length = data[1] < size - 2 ? data[1] : size - 2;
		happen(&c, &t->b, sock, open, data[0], data + 2, length);
		turn(&c, &t->b);
		for (i = 0; i < CONTROL_CLIENTS; i++)
			if (sock[i] >= 0)
				look(sock[i], &open[i]);
	}
	control_close(&c, &t->b);
	MUST(t->b.hints.state != HINTS_ASKED && t->b.hints.state != HINTS_COMING);
	for (i = 0; i < CONTROL_CLIENTS; i++)
		if (sock[i] >= 0)
			close(sock[i]);
	MUST(open_fds() == fds);
	return 0;
}
