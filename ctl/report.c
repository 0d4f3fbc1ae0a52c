// SPDX-License-Identifier: GPL-2.0
/*
 * What to attach to a bug: versions, states, numbers, the last lines of the log that are
 * ours. No host name, no addresses, nothing of other programs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl.h"

/* Lines of the kernel log that are kept, the last ones. */
#define LOG_LINES	100

/* More than the kernel takes on any machine. */
#define COMMAND_LINE_BYTES	8192

/* Most bytes of a record, see Documentation/ABI/testing/dev-kmsg. */
#define RECORD_BYTES	8192

static void print_line(const char *name, const char *path)
{
	char line[LINE_MAX_BYTES];

	if (facts_line(path, line))
		printf("%-11s %s\n", name, line);
}

/* Words of the kernel command line that concern us. */
static void print_words(void)
{
	static const char *const ours[] = { "aeration", "init_on_", "page_poison",
					    "page_reporting", "debug_pagealloc",
					    "page_alloc", "movablecore",
					    "kernelcore", "balloon", "mem=" };
	char line[COMMAND_LINE_BYTES], *word, *rest = line;
	int fd = facts_open("/proc/cmdline", O_RDONLY);
	ssize_t size;
	size_t i;

	size = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);
	line[size > 0 ? size : 0] = '\0';
	if (fd >= 0)
		close(fd);
	printf("%-11s", "booted with");
	while ((word = strsep(&rest, "\n ")))
		for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
			if (!strncmp(word, ours[i], strlen(ours[i])) ||
			    !strncmp(word, "xen_", strlen("xen_"))) {
				printf(" %s", word);
				break;
			}
	putchar('\n');
}

static void print_numbers(const struct facts *f)
{
	unsigned int i;

	for (i = 0; i < NR_NUMBERS; i++)
		if (f->number[i] != UNKNOWN)
			printf("%-25s %" PRIu64 "\n", number_file(i),
			       f->number[i]);
}

/* By who says it: what others say may be private. */
static bool is_ours(const char *text)
{
	return !strncmp(text, "aeration", strlen("aeration")) ||
	       !strncmp(text, "virtio_balloon", strlen("virtio_balloon"));
}

/* Keep the text of a record, from behind its prefix to its end. */
static void keep(char **kept, unsigned int *nr, char *record)
{
	char *text = strchr(record, ';');

	if (!text || !is_ours(text + 1))
		return;
	text[strcspn(text, "\n")] = '\0';
	free(kept[*nr % LOG_LINES]);
	kept[(*nr)++ % LOG_LINES] = strdup(text + 1);
}

static void print_log(void)
{
	char *kept[LOG_LINES] = { NULL }, record[RECORD_BYTES];
	int fd = facts_open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	unsigned int nr = 0, i;
	ssize_t size;

	if (fd < 0) {
		printf("the kernel log cannot be read: %s\n", strerror(errno));
		return;
	}
	/* EPIPE: what was next has been overwritten. */
	while ((size = read(fd, record, sizeof(record) - 1)) > 0 ||
	       (size < 0 && errno == EPIPE))
		if (size > 0) {
			record[size] = '\0';
			keep(kept, &nr, record);
		}
	close(fd);
	for (i = nr > LOG_LINES ? nr - LOG_LINES : 0; i < nr; i++)
		puts(kept[i % LOG_LINES] ? kept[i % LOG_LINES] : "");
	for (i = 0; i < LOG_LINES; i++)
		free(kept[i]);
}

/**
 * report_command - aerationctl report
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit report_command(int argc, char **argv)
{
	struct facts f;

	if (!takes(argc, argv, NULL, NULL))
		return EXIT_USAGE;
	facts_read(&f);
	printf("%-11s %s\n", "program", VERSION);
	print_line("module", "/sys/module/aeration/version");
	print_line("source", "/sys/module/aeration/srcversion");
	print_line("taint", "/proc/sys/kernel/tainted");
	print_line("kernel", "/proc/sys/kernel/osrelease");
	print_line("runs on", "/sys/class/dmi/id/sys_vendor");
	print_line("hypervisor", "/sys/hypervisor/type");
	print_line("reports", "/sys/module/page_reporting/parameters/page_reporting_order");
	print_line("thp", "/sys/kernel/mm/transparent_hugepage/enabled");
	print_words();
	putchar('\n');
	status_print(&f, stdout);
	putchar('\n');
	print_numbers(&f);
	print_line("request", "/sys/kernel/aeration/request/status");
	putchar('\n');
	print_log();
	return EXIT_DONE;
}
