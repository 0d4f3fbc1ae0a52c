// SPDX-License-Identifier: GPL-2.0
/*
 * One thread that waits in one place, and nowhere else: while a front-end waits
 * for an answer, its whole guest does.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "log.h"
#include "server.h"

#define NS_PER_MS	1000000ULL

/*
 * How long a front-end may stay silent while another one waits: whoever comes
 * first and says nothing must not own the device for ever.
 */
#define SILENCE_NS	(10 * 1000 * NS_PER_MS)

/**
 * server_listen - have a socket, and have signals come in turn
 * @s: with the members up to @obey set
 *
 * Return: EXIT_ENDED if all went well, else the exit status; the reason is
 *	told.
 */
enum hintd_exit server_listen(struct server *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	s->signals = -1;
	if (!sigprocmask(SIG_BLOCK, &set, NULL))
		s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0) {
		say("cannot wait for signals: %s", strerror(errno));
		return EXIT_SYSTEM;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!listener_open(&s->listener))
		return EXIT_SOCKET;
	if (control_open(&s->control))
		return EXIT_ENDED;
	listener_close(&s->listener);
	return EXIT_SOCKET;
}

static void disconnect(struct server *s)
{
	session_close(&s->session);
	s->connected = false;
	if (s->listener.connected)
		say("the front-end is gone, and there is no other one");
	else
		say("the front-end is gone; waiting for another one at %s",
		    listener_name(&s->listener));
}

static void connect_one(struct server *s)
{
	int sock = listener_accept(&s->listener);

	if (sock < 0)
		return;
	if (s->connected) {
		say("a front-end that says nothing has to give way");
		disconnect(s);
	}
	session_open(&s->session, s->b, sock);
	s->connected = true;
}

/* Whether the front-end has had the time to say something, and has not. */
static bool is_mute(const struct server *s)
{
	return s->connected && !s->listener.connected && !s->session.spoken &&
	       now_ns() >= s->session.since_ns + SILENCE_NS;
}

/* Places in the set to wait for. */
enum place {
	PLACE_SIGNALS,
	PLACE_INPUT,
	PLACE_CONTROL,
	PLACE_FRONT_END = PLACE_CONTROL + CONTROL_PLACES,
	PLACE_CHANNEL,
	PLACE_LISTENER,		/* looked at while nobody is served */
	PLACE_KICKS,
	NR_PLACES = PLACE_KICKS + BALLOON_QUEUES
};

static void fill(const struct server *s, struct pollfd *fds)
{
	unsigned int i;

	memset(fds, 0, NR_PLACES * sizeof(fds[0]));
	fds[PLACE_SIGNALS].fd = s->signals;
	fds[PLACE_INPUT].fd = s->input;
	fds[PLACE_FRONT_END].fd = s->connected ? s->session.sock : -1;
	fds[PLACE_CHANNEL].fd = s->connected ? s->session.channel : -1;
	fds[PLACE_LISTENER].fd = !s->connected || is_mute(s) ?
					 listener_fd(&s->listener) : -1;
	for (i = 0; i < BALLOON_QUEUES; i++)
		fds[PLACE_KICKS + i].fd = s->b->queue[i].kick;
	for (i = 0; i < NR_PLACES; i++)
		fds[i].events = POLLIN;
	control_fill(&s->control, fds + PLACE_CONTROL);
}

static int timeout_ms(const struct server *s)
{
	uint64_t until = s->b->wake_ns < s->tick_ns ? s->b->wake_ns :
						      s->tick_ns;
	uint64_t mute = s->session.since_ns + SILENCE_NS;
	uint64_t asked = control_until_ns(&s->control, s->b);
	uint64_t rests = listener_until_ns(&s->listener);
	uint64_t now = now_ns();

	if (asked < until)
		until = asked;
	if (rests < until)
		until = rests;
	if (s->connected && !s->session.spoken && now < mute && mute < until)
		until = mute;
	if (until == NEVER_NS)
		return -1;
	return until <= now ? 0 : (int)((until - now) / NS_PER_MS + 1);
}

/* Take notice of a kick. Something that is no eventfd may be readable always. */
static void drain(struct queue *q)
{
	uint64_t count;
	ssize_t got = read(q->kick, &count, sizeof(count));

	if (got == sizeof(count) || (got < 0 && errno == EAGAIN))
		return;
	say("queue %u: the front-end's notifications are no eventfd; not looked at any more",
	    q->index);
	close(q->kick);
	q->kick = -1;
}

static void tell_config(struct server *s)
{
	if (s->connected && s->b->config_changed)
		session_tell_config(&s->session);
}

static void serve_session(struct server *s, const struct pollfd *fds)
{
	struct queue *q;
	unsigned int i;

	/* By descriptor: a message may have changed what belongs to a queue. */
	for (i = 0; i < BALLOON_QUEUES; i++) {
		q = &s->b->queue[i];
		if (fds[PLACE_KICKS + i].revents && q->kick >= 0)
			drain(q);
	}
	if (fds[PLACE_CHANNEL].revents && s->session.channel >= 0)
		session_hear(&s->session);
	if (fds[PLACE_FRONT_END].revents && !session_receive(&s->session)) {
		disconnect(s);
		return;
	}
	balloon_serve(s->b);
	if (s->b->behaviour->hang_up)
		disconnect(s);
}

/**
 * server_run - serve until a signal, or @obey, asks for the end
 * @s: after server_listen()
 *
 * Return: the exit status.
 */
enum hintd_exit server_run(struct server *s)
{
	enum hintd_exit status = EXIT_ENDED;
	struct pollfd fds[NR_PLACES];

	if (s->listener.connected)
		connect_one(s);
	for (;;) {
		fill(s, fds);
		if (poll(fds, NR_PLACES, timeout_ms(s)) < 0 && errno != EINTR) {
			say("cannot wait: %s", strerror(errno));
			status = EXIT_SYSTEM;
			break;
		}
		if (fds[PLACE_SIGNALS].revents ||
		    (fds[PLACE_INPUT].revents && !s->obey(s->b)))
			break;
		control_serve(&s->control, s->b, fds + PLACE_CONTROL);
		if (fds[PLACE_LISTENER].revents)
			connect_one(s);
		else if (s->connected)
			serve_session(s, fds);
		tell_config(s);
		control_answer(&s->control, s->b);
		/* It may have gone on to the next command. */
		tell_config(s);
		if (!s->connected && s->listener.connected)
			break;
		if (now_ns() >= s->tick_ns)
			show(s);
	}
	show_end(s);
	if (s->connected)
		session_close(&s->session);
	control_answer(&s->control, s->b);
	control_close(&s->control, s->b);
	listener_close(&s->listener);
	return status;
}
