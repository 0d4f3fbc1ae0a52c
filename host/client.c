// SPDX-License-Identifier: GPL-2.0
/* A client of the control socket; nobody waits for it. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "client.h"
#include "log.h"
#include "stats.h"

/**
 * client_init - nobody is connected
 * @c: uninitialised
 */
void client_init(struct client *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

/**
 * client_connect - somebody else is
 * @c: after client_init(); whoever is connected is hung up on
 * @fd: the connection, taken over; or -1
 */
void client_connect(struct client *c, int fd)
{
	if (c->fd >= 0)
		close(c->fd);
	client_init(c);
	c->fd = fd;
	c->heard_ns = now_ns();
}

/**
 * client_events - what of it to wait for
 * @c: the client
 *
 * One that has ended is waited for to go; one that has said a lot, while it waits for an
 * answer, has to wait with the rest.
 *
 * Return: as in struct pollfd.
 */
short client_events(const struct client *c)
{
	return c->ended || c->have == sizeof(c->line) ? 0 : POLLIN;
}

/**
 * client_receive - it has said something, or gone
 * @c: the client
 *
 * One that still waits for an answer may have ended its part only. If it is readable
 * after that, it has gone.
 */
void client_receive(struct client *c)
{
	ssize_t got = 0;

	if (!c->ended)
		got = read(c->fd, c->line + c->have,
			   sizeof(c->line) - c->have);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		c->broken = c->ended || !c->waits;
		c->ended = true;
		return;
	}
	c->heard_ns = now_ns();
	c->have += (size_t)got;
}

/**
 * client_line - take its next command, unless that has to wait
 * @c: the client
 * @line: CLIENT_LINE bytes; set to the command, without its newline
 *
 * Return: false if there is none.
 */
bool client_line(struct client *c, char *line)
{
	char *end = memchr(c->line, '\n', c->have);

	if (c->waits || c->broken)
		return false;
	if (!end && c->have == sizeof(c->line)) {
		client_say(c, "error a command has less than %d bytes\n",
			   CLIENT_LINE);
		c->broken = true;
	}
	if (!end)
		return false;
	*end++ = '\0';
	memcpy(line, c->line, (size_t)(end - c->line));
	c->have -= (size_t)(end - c->line);
	memmove(c->line, end, c->have);
	return true;
}

/**
 * client_say - answer it
 * @c: the client
 * @format: as of printf()
 *
 * One that does not take a whole answer is hung up on: what is left of it would be taken
 * for the next one.
 */
void client_say(struct client *c, const char *format, ...)
{
	char text[CLIENT_ANSWER];
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (c->broken ||
	    send(c->fd, text, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) == size)
		return;
	say("a client of the control socket does not take an answer, it is hung up on");
	c->broken = true;
}

/**
 * client_is_done - is it to be hung up on?
 * @c: the client
 *
 * Return: true if so.
 */
bool client_is_done(const struct client *c)
{
	return c->broken || (c->ended && !c->waits);
}
