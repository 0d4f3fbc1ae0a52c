// SPDX-License-Identifier: GPL-2.0
/*
 * Commands over a socket, one a line; each is answered by one line that begins with "ok"
 * or "error". Several clients may be connected, and each is served as soon as it says
 * something. See hintd.8, CONTROL SOCKET.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "control.h"

/* Pages of the balloon in a MiB. */
#define PAGES_PER_MIB	256

#define NS_PER_S	1000000000ULL

/*
 * How long a guest that is asked may say nothing. One that is paused does not, nor one
 * whose driver serves no hint runs because its free pages have a content.
 */
#define SILENCE_S	30

/* The most a run may take, s: a guest that goes on for ever is not waited for. */
#define RUN_S		1800

/* How long a front-end may take to take notice of a change. */
#define READ_NS		(10 * NS_PER_S)

static bool is_waited_for(const struct control *c)
{
	const struct client *one;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++)
		if (one->waits == WAIT_RUN)
			return true;
	return false;
}

static void hang_up(struct client *one, struct balloon *b)
{
	if (one->waits == WAIT_RUN)
		hints_stop(b, "whoever asked for it is gone");
	client_connect(one, -1);
}

static void flush(struct client *one, struct balloon *b)
{
	const char *why = hints_ask(b);

	if (why)
		client_say(one, "error %s\n", why);
	else
		one->waits = WAIT_RUN;
}

static void set_balloon(struct client *one, struct balloon *b, const char *text)
{
	unsigned long most = UINT32_MAX / PAGES_PER_MIB, mib;
	char *end;

	errno = 0;
	mib = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || mib > most) {
		client_say(one, "error balloon MIB: a number up to %lu\n",
			   most);
		return;
	}
	b->config.num_pages = (uint32_t)mib * PAGES_PER_MIB;
	b->config_changed = true;
	one->waits = WAIT_READ;
	one->since_ns = now_ns();
}

static void show_stats(struct client *one, const struct balloon *b)
{
	char text[CLIENT_ANSWER - sizeof("ok ")] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	if (!out) {
		client_say(one, "error %s\n", strerror(errno));
		return;
	}
	stats_json(&b->stats, memory_backed(&b->mem), out);
	fclose(out);
	client_say(one, "ok %s", text);
}

static void obey(struct control *c, struct client *one, struct balloon *b,
		 const char *line)
{
	if (!strcmp(line, "flush") && is_waited_for(c))
		client_say(one, "error somebody else waits for one\n");
	else if (!strcmp(line, "flush"))
		flush(one, b);
	else if (!strncmp(line, "balloon ", strlen("balloon ")))
		set_balloon(one, b, line + strlen("balloon "));
	else if (!strcmp(line, "stats"))
		show_stats(one, b);
	else
		client_say(one, "error known are flush, balloon MIB and stats\n");
}

static void obey_lines(struct control *c, struct client *one, struct balloon *b)
{
	char line[CLIENT_LINE];

	while (client_line(one, line))
		obey(c, one, b, line);
	if (client_is_done(one))
		hang_up(one, b);
}

/**
 * control_open - make the socket, if there is to be one
 * @c: with @listener set
 *
 * Return: false if it cannot be made; the reason is told.
 */
bool control_open(struct control *c)
{
	struct client *one;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++)
		client_init(one);
	return !c->listener.path || listener_open(&c->listener);
}

/**
 * control_fill - what to wait for
 * @c: the socket
 * @fds: CONTROL_PLACES places of a set; set
 */
void control_fill(const struct control *c, struct pollfd *fds)
{
	const struct client *one;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++)
		*fds++ = (struct pollfd){
			.fd = one->fd,
			.events = client_events(one),
		};
	*fds = (struct pollfd){
		.fd = c->listener.path ? listener_fd(&c->listener) : -1,
		.events = POLLIN,
	};
}

/* When a client is answered at the latest, ns. */
static uint64_t until_ns(const struct client *one, const struct balloon *b)
{
	if (one->waits == WAIT_NONE)
		return NEVER_NS;
	if (one->waits == WAIT_RUN && !hints_over(b)) {
		uint64_t silent = b->hints.since_ns + SILENCE_S * NS_PER_S;
		uint64_t late = b->hints.began_ns + RUN_S * NS_PER_S;

		return silent < late ? silent : late;
	}
	if (!b->config_unread && !b->config_unsent)
		return 0;
	return READ_NS + (one->waits == WAIT_RUN ? b->hints.since_ns :
						    one->since_ns);
}

/**
 * control_until_ns - when to call control_answer() though nothing happens
 * @c: the socket
 * @b: the device
 *
 * Return: the time, ns, or NEVER_NS.
 */
uint64_t control_until_ns(const struct control *c, const struct balloon *b)
{
	const struct client *one;
	uint64_t until = c->listener.path ? listener_until_ns(&c->listener) :
					    NEVER_NS;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++)
		if (until_ns(one, b) < until)
			until = until_ns(one, b);
	return until;
}

/* A place for one more. Of those that are connected one does not wait for a run. */
static struct client *place(struct control *c)
{
	struct client *one, *found = NULL;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++) {
		if (one->fd < 0)
			return one;
		if (one->waits != WAIT_RUN &&
		    (!found || one->heard_ns < found->heard_ns))
			found = one;
	}
	return found;
}

static void accept_one(struct control *c)
{
	int fd = listener_accept(&c->listener);

	if (fd >= 0)
		client_connect(place(c), fd);
}

/**
 * control_serve - somebody has come, said something, or gone
 * @c: the socket
 * @b: the device
 * @fds: what control_fill() has set, with what came of it
 *
 * Never waits.
 */
void control_serve(struct control *c, struct balloon *b,
		   const struct pollfd *fds)
{
	struct client *one;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++)
		if (fds++->revents) {
			client_receive(one);
			obey_lines(c, one, b);
		}
	if (fds->revents)
		accept_one(c);
}

static void answer(struct client *one, const struct balloon *b)
{
	const struct hints *h = &b->hints;

	if (one->waits == WAIT_RUN && h->failed)
		client_say(one, "error %s\n", h->failed);
	else if (b->config_unread || b->config_unsent)
		client_say(one, "error it is done, and the front-end takes no notice of that\n");
	else if (one->waits == WAIT_RUN)
		client_say(one, "ok hinted %" PRIu64 " released %" PRIu64 "\n",
			   h->told, h->released);
	else
		client_say(one, "ok\n");
	one->waits = WAIT_NONE;
}

/**
 * control_answer - tell whoever waits what has come of it
 * @c: the socket
 * @b: the device, of which the front-end was told what has changed
 *
 * Not before the front-end has taken notice: who is answered may stop the guest at once,
 * and QEMU 11.1 may end with SIGSEGV if it hears of a change while it stops a device.
 */
void control_answer(struct control *c, struct balloon *b)
{
	struct client *one;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++) {
		if (now_ns() < until_ns(one, b))
			continue;
		if (one->waits == WAIT_RUN && !hints_over(b)) {
			hints_stop(b, now_ns() - b->hints.since_ns <
				   SILENCE_S * NS_PER_S ?
				   "the guest has not come to an end for half an hour" :
				   "the guest has said nothing for 30 s");
			continue;
		}
		answer(one, b);
		obey_lines(c, one, b);
	}
}

/**
 * control_close - close the socket
 * @c: the socket
 * @b: the device
 */
void control_close(struct control *c, struct balloon *b)
{
	struct client *one;

	for (one = c->client; one < c->client + CONTROL_CLIENTS; one++)
		hang_up(one, b);
	if (c->listener.path)
		listener_close(&c->listener);
}
