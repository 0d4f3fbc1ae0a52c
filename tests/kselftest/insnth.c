// SPDX-License-Identifier: GPL-2.0
/*
 * Load a module again and again, and have the first allocation fail that the
 * kernel does for it, then the second, and so on, until many in a row were more
 * than there are. Needs a kernel with fault injection.
 *
 *	insnth FILE NAME WORDS ENOUGH
 *
 * A module that could not be loaded must not be there. Ends with how often it was
 * tried and how often it failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Tries between two words of progress. */
#define PROGRESS	20

static const char *file, *name, *words;

/* Linux, Documentation/fault-injection: the n-th one of this task. */
static int fail_nth(int n)
{
	char text[16];
	int fd = open("/proc/thread-self/fail-nth", O_WRONLY);
	int len = snprintf(text, sizeof(text), "%d", n);
	int err = fd < 0 || write(fd, text, (size_t)len) != len;

	close(fd);
	return err;
}

static int is_loaded(void)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return !access(path, F_OK);
}

/* Return: 1 if it was loaded, 0 if an allocation failed, -1 if all is wrong. */
static int try_nth(int n)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	long err;

	if (fd < 0 || fail_nth(n)) {
		fprintf(stderr, "insnth: %d: %s\n", n, strerror(errno));
		return -1;
	}
	err = syscall(SYS_finit_module, fd, words, 0) ? errno : 0;
	fail_nth(0);
	close(fd);
	if (err) {
		if (!is_loaded())
			return 0;
		fprintf(stderr, "insnth: %d: failed (%s), and is there\n", n,
			strerror((int)err));
		return -1;
	}
	if (!syscall(SYS_delete_module, name, O_NONBLOCK))
		return 1;
	fprintf(stderr, "insnth: %d: cannot be unloaded: %s\n", n,
		strerror(errno));
	return -1;
}

int main(int argc, char **argv)
{
	int n, got, fine = 0, failed = 0, enough;

	if (argc != 5) {
		fprintf(stderr, "usage: insnth FILE NAME WORDS ENOUGH\n");
		return 2;
	}
	file = argv[1];
	name = argv[2];
	words = argv[3];
	enough = atoi(argv[4]);
	for (n = 1; fine < enough; n++) {
		got = try_nth(n);
		if (got < 0)
			return 1;
		fine = got ? fine + 1 : 0;
		failed += !got;
		if (n % PROGRESS == 0) {
			printf("# %d tried, %d failed\n", n, failed);
			fflush(stdout);
		}
	}
	printf("%d tried, %d failed\n", n - 1, failed);
	return 0;
}
