// SPDX-License-Identifier: GPL-2.0
/* Ask QEMU's monitor, one question at a time. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "ctl.h"
#include "qmp.h"

/* That QEMU may take to answer, with all the events that come before. */
#define ANSWER_MS	10000

/* Bytes of a question, and at most of an answer: that of a device has 10 000. */
#define QUESTION_BYTES	512
#define ANSWER_BYTES	((size_t)1 << 20)

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Say how a call for the socket has failed. */
static void lost(int error)
{
	if (error == EPIPE || error == ECONNRESET)
		complain("QEMU has closed its monitor");
	else
		complain("the monitor: %s", strerror(error));
}

static bool no_monitor(const char *why)
{
	complain("this is no monitor of QEMU: it says %s", why);
	return false;
}

/* Wait for a byte until @end, ms; false after a complaint. */
static bool wait_byte(struct qmp *q, int64_t end)
{
	struct pollfd one = { .fd = q->fd, .events = POLLIN };
	int64_t left;
	int ready;

	do {
		left = end - now_ms();
		ready = left > 0 ? poll(&one, 1, (int)left) : 0;
	} while (ready < 0 && errno == EINTR && !pace_ended());
	if (ready > 0)
		return true;
	if (ready < 0 && errno != EINTR)
		lost(errno);
	else if (!ready)
		complain("QEMU says nothing for %d s: it serves one at a time, and somebody else may be connected to this monitor",
			 ANSWER_MS / 1000);
	return false;
}

/* Make room for one more byte in @q->text. */
static bool more_room(struct qmp *q)
{
	size_t size = q->size ? 2 * q->size : QUESTION_BYTES;
	char *text;

	if (q->len + 1 < q->size)
		return true;
	text = realloc(q->text, size);
	if (!text) {
		complain("no memory");
		return false;
	}
	q->text = text;
	q->size = size;
	return true;
}

/* Read a line into @q->text, until @end at most. */
static bool read_line(struct qmp *q, int64_t end)
{
	char byte;
	ssize_t got;

	for (q->len = 0;; q->text[q->len++] = byte) {
		if (!wait_byte(q, end))
			return false;
		got = recv(q->fd, &byte, 1, 0);
		if (got <= 0) {
			lost(got ? errno : EPIPE);
			return false;
		}
		if (byte == '\n')
			break;
		if (!byte)
			return no_monitor("a NUL");
		if (q->len + 1 == ANSWER_BYTES)
			return no_monitor("a line without an end");
		if (!more_room(q))
			return false;
	}
	if (!q->len)
		return no_monitor("an empty line");
	q->text[q->len] = '\0';
	return true;
}

/**
 * qmp_ask - ask, and wait for the answer
 * @q: a connection
 * @answer: set to what is answered; it lives until the next question
 * @format: as of printf(): the question, a JSON object
 *
 * Return: how that ended; @answer is of length 0 unless with an answer.
 */
enum qmp_end qmp_ask(struct qmp *q, struct json *answer, const char *format, ...)
{
	char question[QUESTION_BYTES];
	int64_t end = now_ms() + ANSWER_MS;
	struct json whole;
	va_list args;
	int len;

	answer->len = 0;
	va_start(args, format);
	len = vsnprintf(question, sizeof(question), format, args);
	va_end(args);
	if (len < 0 || (size_t)len + 1 >= sizeof(question)) {
		complain("too long a question for QEMU");
		return QMP_GONE;
	}
	question[len] = '\n';
	if (send(q->fd, question, (size_t)len + 1, MSG_NOSIGNAL) != len + 1) {
		lost(errno);
		return QMP_GONE;
	}
	/* Events come in between. */
	do {
		if (!read_line(q, end))
			return QMP_GONE;
		if (!json_value(q->text, q->len, &whole)) {
			no_monitor("what is no JSON");
			return QMP_GONE;
		}
		if (json_member(whole, "error", answer)) {
			answer->len = 0;
			return QMP_REFUSED;
		}
	} while (!json_member(whole, "return", answer));
	return QMP_ANSWERED;
}

/**
 * qmp_open - connect to a monitor
 * @q: set to the connection, to be closed in any case
 * @path: of its socket
 *
 * Return: false, after a complaint, if that did not work.
 */
bool qmp_open(struct qmp *q, const char *path)
{
	struct sockaddr_un where = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = ANSWER_MS / 1000 };
	struct json answer, hello;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	*q = (struct qmp){ .fd = -1 };
	if (strlen(path) >= sizeof(where.sun_path)) {
		complain("%s: longer than the path of a socket may be", path);
		return false;
	}
	memcpy(where.sun_path, path, strlen(path));
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (q->fd >= 0)
		setsockopt(q->fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
			   sizeof(patience));
	if (q->fd < 0 || connect(q->fd, (struct sockaddr *)&where, sizeof(where))) {
		complain("%s: %s", path, errno == EAGAIN ?
			 "others wait for this monitor, too" : strerror(errno));
		return false;
	}
	if (!getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		q->pid = peer.pid;
	if (!read_line(q, now_ms() + ANSWER_MS))
		return false;
	if (!json_value(q->text, q->len, &hello) ||
	    !json_member(hello, "QMP", &answer)) {
		complain("%s is no monitor of QEMU (-qmp unix:%s,server=on,wait=off)",
			 path, path);
		return false;
	}
	switch (qmp_ask(q, &answer, "{\"execute\": \"qmp_capabilities\"}")) {
	case QMP_ANSWERED:
		return true;
	case QMP_REFUSED:
		complain("%s: QEMU takes no commands", path);
		break;
	case QMP_GONE:
		break;
	}
	return false;
}

/**
 * qmp_close - end a connection
 * @q: one of qmp_open(), whatever that returned
 */
void qmp_close(struct qmp *q)
{
	if (q->fd >= 0)
		close(q->fd);
	free(q->text);
	q->fd = -1;
	q->text = NULL;
}
