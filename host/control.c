// SPDX-License-Identifier: GPL-2.0
/*
 * Commands over a socket, one a line; each is answered by one line that begins with "ok"
 * or "error". One client at a time; others wait. See hintd.8, CONTROL SOCKET.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "control.h"
#include "log.h"

/* Room for the statistics, which are the longest answer. */
#define ANSWER_MAX	4096

/* Pages of the balloon in a MiB. */
#define PAGES_PER_MIB	256

/* Whoever does not take an answer does not get it: nobody waits for that. */
static void say_to(struct control *c, const char *text, size_t size)
{
	if (send(c->client, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)size)
		say("the client of the control socket does not take an answer");
}

static void __attribute__((format(printf, 2, 3)))
answer_line(struct control *c, const char *format, ...)
{
	char text[ANSWER_MAX];
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say_to(c, text, (size_t)size);
}

static void hang_up(struct control *c, struct balloon *b)
{
	if (c->client >= 0)
		close(c->client);
	c->client = -1;
	c->have = 0;
	c->ended = false;
	if (c->waits)
		hints_stop(b, "whoever asked for it is gone");
	c->waits = false;
}

static void flush(struct control *c, struct balloon *b)
{
	const char *why = hints_ask(b);

	if (why)
		answer_line(c, "error %s\n", why);
	else
		c->waits = true;
}

static void set_balloon(struct control *c, struct balloon *b, const char *text)
{
	unsigned long most = UINT32_MAX / PAGES_PER_MIB, mib;
	char *end;

	errno = 0;
	mib = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || mib > most) {
		answer_line(c, "error balloon MIB: a number up to %lu\n", most);
		return;
	}
	b->config.num_pages = (uint32_t)mib * PAGES_PER_MIB;
	b->config_changed = true;
	answer_line(c, "ok\n");
}

static void show_stats(struct control *c, const struct balloon *b)
{
	char text[ANSWER_MAX] = "ok ";
	FILE *out = fmemopen(text + 3, sizeof(text) - 3, "w");

	if (!out) {
		answer_line(c, "error %s\n", strerror(errno));
		return;
	}
	stats_json(&b->stats, memory_backed(&b->mem), out);
	fclose(out);
	say_to(c, text, strlen(text));
}

static void obey(struct control *c, struct balloon *b, const char *line)
{
	if (!strcmp(line, "flush"))
		flush(c, b);
	else if (!strncmp(line, "balloon ", strlen("balloon ")))
		set_balloon(c, b, line + strlen("balloon "));
	else if (!strcmp(line, "stats"))
		show_stats(c, b);
	else
		answer_line(c, "error known are flush, balloon MIB and stats\n");
}

/* Commands that came behind one that is waited for have to wait, too. */
static void obey_lines(struct control *c, struct balloon *b)
{
	char *end;

	while (!c->waits && (end = memchr(c->line, '\n', c->have))) {
		*end++ = '\0';
		obey(c, b, c->line);
		c->have -= (size_t)(end - c->line);
		memmove(c->line, end, c->have);
	}
	if (c->waits || c->have < sizeof(c->line))
		return;
	answer_line(c, "error a command has less than %d bytes\n", CONTROL_LINE);
	hang_up(c, b);
}

/**
 * control_open - make the socket, if there is to be one
 * @c: with @listener set
 *
 * Return: false if it cannot be made; the reason is told.
 */
bool control_open(struct control *c)
{
	c->client = -1;
	return !c->listener.path || listener_open(&c->listener);
}

/**
 * control_fd - what to wait for
 * @c: the socket
 *
 * Return: a descriptor, or -1.
 */
int control_fd(const struct control *c)
{
	if (c->client >= 0)
		return c->client;
	return c->listener.path ? c->listener.fd : -1;
}

/**
 * control_events - what of it to wait for
 * @c: the socket
 *
 * A client that has ended is waited for to go; one that has said a lot, while it waits
 * for an answer, has to wait with the rest.
 *
 * Return: as in struct pollfd.
 */
short control_events(const struct control *c)
{
	return c->ended || c->have == sizeof(c->line) ? 0 : POLLIN;
}

/* Return: whether there is more to come. */
static bool receive(struct control *c)
{
	ssize_t got;

	if (c->ended)
		return false;
	got = read(c->client, c->line + c->have, sizeof(c->line) - c->have);
	if (got > 0)
		c->have += (size_t)got;
	return got > 0 || (got < 0 && errno == EAGAIN);
}

/**
 * control_serve - somebody has come, said something, or gone
 * @c: the socket
 * @b: the device
 *
 * Never waits.
 */
void control_serve(struct control *c, struct balloon *b)
{
	if (c->client < 0) {
		c->client = listener_accept(&c->listener);
		return;
	}
	if (receive(c))
		obey_lines(c, b);
	else if (c->waits && !c->ended)
		c->ended = true;
	else
		hang_up(c, b);
}

/**
 * control_answer - tell whoever waits for a hint run that it is over
 * @c: the socket
 * @b: the device
 */
void control_answer(struct control *c, struct balloon *b)
{
	const struct hints *h = &b->hints;

	if (!c->waits || !hints_over(b))
		return;
	c->waits = false;
	if (h->failed)
		answer_line(c, "error %s\n", h->failed);
	else
		answer_line(c, "ok hinted %" PRIu64 " released %" PRIu64 "\n",
			    h->told, h->released);
	obey_lines(c, b);
	if (c->ended && !c->waits)
		hang_up(c, b);
}

/**
 * control_close - close the socket
 * @c: the socket
 * @b: the device
 */
void control_close(struct control *c, struct balloon *b)
{
	hang_up(c, b);
	if (c->listener.path)
		listener_close(&c->listener);
}
