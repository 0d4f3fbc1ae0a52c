// SPDX-License-Identifier: GPL-2.0
/*
 * Write a word to a file of sysfs, say the error if there is one; or wait until such
 * a file says that it has changed, and print it.
 *
 *	poke FILE WORD [MS]
 *	poke FILE
 *
 * With MS a signal comes after so many milliseconds, and again after as many
 * more: a write that can be interrupted is, and fails with EINTR.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define WORD_MAX	256
#define CHANGE_MS	60000

static void on_alarm(int sig)
{
	(void)sig;
}

/* Not with SA_RESTART: the kernel would begin the write again. */
static void interrupt_after(long ms)
{
	struct timeval step = { .tv_sec = ms / 1000,
				.tv_usec = ms % 1000 * 1000 };
	struct itimerval timer = { .it_interval = step, .it_value = step };
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static int wait_for_change(const char *path)
{
	char word[WORD_MAX];
	int fd = open(path, O_RDONLY);
	struct pollfd changes = { .fd = fd, .events = POLLPRI };
	ssize_t len;

	/* Of what has been read it tells when it changes. */
	if (fd < 0 || read(fd, word, sizeof(word)) < 0 ||
	    poll(&changes, 1, CHANGE_MS) != 1) {
		fprintf(stderr, "poke: %s does not change\n", path);
		return 1;
	}
	len = pread(fd, word, sizeof(word), 0);
	return len < 0 || fwrite(word, 1, (size_t)len, stdout) != (size_t)len;
}

int main(int argc, char **argv)
{
	char word[WORD_MAX];
	int fd, len;

	if (argc == 2)
		return wait_for_change(argv[1]);
	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: poke FILE [WORD [MS]]\n");
		return 2;
	}
	len = snprintf(word, sizeof(word), "%s\n", argv[2]);
	fd = open(argv[1], O_WRONLY | O_TRUNC);
	if (argc == 4)
		interrupt_after(strtol(argv[3], NULL, 0));
	if (fd < 0 || write(fd, word, (size_t)len) != len) {
		fprintf(stderr, "poke: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	return 0;
}
