// SPDX-License-Identifier: GPL-2.0
/*
 * Write a word to a file, say the error if there is one.
 *
 *	poke FILE WORD [MS]
 *
 * With MS a signal comes after so many milliseconds, and again after as many
 * more: a write that can be interrupted is, and fails with EINTR.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define WORD_MAX	256

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

int main(int argc, char **argv)
{
	char word[WORD_MAX];
	int fd, len;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: poke FILE WORD [MS]\n");
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
