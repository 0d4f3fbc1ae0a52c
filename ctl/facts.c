// SPDX-License-Identifier: GPL-2.0
/*
 * Read what this guest says of itself. A file that is not there is a fact as well: older
 * modules and other kernels have fewer.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "facts.h"

#define CORE		"/sys/kernel/aeration/"
#define PARAMETERS	"/sys/module/aeration/parameters/"
#define VIRTIO		"/sys/bus/virtio/devices"

/* Virtio 1.2, 5: the device type of a balloon. */
#define BALLOON_ID	"0x0005"

#define KIB		((uint64_t)1024)

/* Orders in /proc/buddyinfo, at most. */
#define ORDERS_MAX	20

/* Before each path; what tests look at is not this machine. */
static const char *base = "";

static const char *const files[NR_NUMBERS] = {
	[NUMBER_WINDOW_MS] = "window_ms",
	[NUMBER_WINDOW_NOW_MS] = "window_now_ms",
	[NUMBER_BACKOFF_MS] = "backoff_ms",
	[NUMBER_REGRETTED_BYTES] = "regretted_bytes",
	[NUMBER_RESERVE_MB] = "reserve_mb",
	[NUMBER_ORDER] = "order",
	[NUMBER_CAPACITY] = "capacity",
	[NUMBER_BATCHES] = "stats/batches",
	[NUMBER_BLOCKS] = "stats/blocks",
	[NUMBER_BYTES] = "stats/bytes",
	[NUMBER_REFUSED] = "stats/refused",
	[NUMBER_ERRORS] = "stats/errors",
	[NUMBER_TIMEOUTS] = "stats/timeouts",
	[NUMBER_HELD_BACK] = "stats/held_back",
	[NUMBER_SAMPLES] = "stats/samples",
	[NUMBER_IN_FLIGHT_BYTES] = "stats/in_flight_bytes",
	[NUMBER_RESTORES] = "stats/restores",
	[NUMBER_RESTORED_BYTES] = "stats/restored_bytes",
	[NUMBER_HELD_BYTES] = "hold/held_bytes",
	[NUMBER_STARVED] = "hold/starved",
	[NUMBER_FORFEITED_BYTES] = "hold/forfeited_bytes",
	[NUMBER_OUT_OF_REACH_BYTES] = "hold/out_of_reach_bytes",
	[NUMBER_QUARANTINED] = "hold/quarantined",
};

static const char *const backends[NR_BACKENDS] = {
	[BACKEND_VIRTIO] = "virtio",
	[BACKEND_XEN] = "xen",
	[BACKEND_HYPERV] = "hyperv",
	[BACKEND_LOOP] = "loop",
};

/**
 * facts_root - look at another folder instead of this machine
 * @root: the folder, which has sys and proc
 */
void facts_root(const char *root)
{
	base = root;
}

/**
 * number_file - where a number is
 * @number: which
 *
 * Return: its file under /sys/kernel/aeration.
 */
const char *number_file(enum number number)
{
	return files[number];
}

/**
 * backend_name - what a backend is called
 * @backend: which
 *
 * Return: its name.
 */
const char *backend_name(enum backend backend)
{
	return backends[backend];
}

static FILE *open_file(const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", base, path);
	return fopen(whole, "re");
}

/**
 * facts_line - read the first line of a file
 * @path: its path
 * @line: LINE_MAX_BYTES bytes; set to the line without its end, or to ""
 *
 * Return: false if it cannot be read.
 */
bool facts_line(const char *path, char *line)
{
	FILE *in = open_file(path);
	bool got;

	*line = '\0';
	if (!in)
		return false;
	got = fgets(line, LINE_MAX_BYTES, in);
	fclose(in);
	if (!got)
		*line = '\0';
	line[strcspn(line, "\n")] = '\0';
	return got;
}

/**
 * facts_open - open a file
 * @path: its path
 * @flags: as of open(2)
 *
 * Return: a descriptor, or -1 with errno set.
 */
int facts_open(const char *path, int flags)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", base, path);
	return open(whole, flags | O_CLOEXEC);
}

/**
 * facts_write - write a file of the core's
 * @path: its path
 * @text: what to write
 *
 * Return: 0 or a negative error.
 */
int facts_write(const char *path, const char *text)
{
	size_t size = strlen(text);
	int fd = facts_open(path, O_WRONLY | O_TRUNC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, size) != (ssize_t)size)
		err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

static uint64_t read_number(const char *name)
{
	char path[LINE_MAX_BYTES], line[LINE_MAX_BYTES], *end;
	uint64_t value;

	snprintf(path, sizeof(path), CORE "%s", name);
	if (!facts_line(path, line))
		return UNKNOWN;
	errno = 0;
	value = strtoull(line, &end, 10);
	return end == line || errno ? UNKNOWN : value;
}

static enum state state_of(const char *word)
{
	static const char *const words[] = {
		[STATE_OFF] = "off",
		[STATE_WAITING] = "waiting",
		[STATE_RUNNING] = "running",
		[STATE_FAILED] = "failed",
	};
	enum state state;

	for (state = STATE_OFF; state < STATE_ODD; state++)
		if (!strcmp(word, words[state]))
			return state;
	return STATE_ODD;
}

static void read_core(struct facts *f)
{
	char path[LINE_MAX_BYTES];
	unsigned int i;

	for (i = 0; i < NR_NUMBERS; i++)
		f->number[i] = UNKNOWN;
	if (!facts_line(CORE "state", f->word))
		return;
	f->state = state_of(f->word);
	facts_line(CORE "backend", f->backend);
	facts_line(CORE "max_held", f->max_held);
	facts_line(PARAMETERS "backend", f->asked);
	for (i = 0; i < NR_BACKENDS; i++) {
		snprintf(path, sizeof(path), CORE "why/%s", backends[i]);
		facts_line(path, f->why[i]);
	}
	for (i = 0; i < NR_NUMBERS; i++)
		f->number[i] = read_number(files[i]);
}

static void read_memory(struct facts *f)
{
	uint64_t kib, slabs = 0, shared = 0, cache = 0;
	char line[LINE_MAX_BYTES], name[LINE_MAX_BYTES];
	FILE *in = open_file("/proc/meminfo");

	f->total = UNKNOWN;
	f->free = UNKNOWN;
	f->available = UNKNOWN;
	f->cache = UNKNOWN;
	if (!in)
		return;
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%255[^:]: %" SCNu64 " kB", name, &kib) != 2)
			continue;
		if (!strcmp(name, "MemTotal"))
			f->total = kib * KIB;
		else if (!strcmp(name, "MemFree"))
			f->free = kib * KIB;
		else if (!strcmp(name, "MemAvailable"))
			f->available = kib * KIB;
		else if (!strcmp(name, "Buffers") || !strcmp(name, "Cached"))
			cache += kib * KIB;
		else if (!strcmp(name, "SReclaimable"))
			slabs = kib * KIB;
		else if (!strcmp(name, "Shmem"))
			shared = kib * KIB;
	}
	fclose(in);
	f->cache = cache + slabs - (shared < cache ? shared : cache);
}

/* Free memory in blocks of an order or more, of a line of /proc/buddyinfo; bytes. */
static uint64_t blocks_of(char *line, uint64_t order)
{
	char *word, *rest = line;
	uint64_t bytes = 0;
	int column = 0;

	/* "Node", a number, "zone", a name; then blocks of each order. */
	while ((word = strsep(&rest, "\n ")) && column < 4 + ORDERS_MAX) {
		if (!*word)
			continue;
		if (column >= 4 && (uint64_t)column - 4 >= order)
			bytes += strtoull(word, NULL, 10) *
				 ((uint64_t)sysconf(_SC_PAGESIZE) <<
				  (column - 4));
		column++;
	}
	return bytes;
}

static void read_blocks(struct facts *f)
{
	FILE *in = open_file("/proc/buddyinfo");
	char line[2 * LINE_MAX_BYTES];

	f->blocks = UNKNOWN;
	if (!in || f->number[NUMBER_ORDER] == UNKNOWN) {
		if (in)
			fclose(in);
		return;
	}
	f->blocks = 0;
	while (fgets(line, sizeof(line), in))
		f->blocks += blocks_of(line, f->number[NUMBER_ORDER]);
	fclose(in);
}

static void read_pressure(struct facts *f)
{
	char line[LINE_MAX_BYTES];

	if (!facts_line("/proc/pressure/memory", line) ||
	    sscanf(line, "some avg10=%lf", &f->pressed) != 1)
		f->pressed = -1;
}

static void read_driver(struct device *d)
{
	char path[PATH_MAX], to[PATH_MAX];
	ssize_t size;

	snprintf(path, sizeof(path), "%s" VIRTIO "/%s/driver", base, d->name);
	size = readlink(path, to, sizeof(to) - 1);
	if (size < 0)
		return;
	to[size] = '\0';
	snprintf(d->driver, sizeof(d->driver), "%.31s",
		 strrchr(to, '/') ? strrchr(to, '/') + 1 : to);
}

static bool read_device(struct device *d, const char *name)
{
	char path[LINE_MAX_BYTES], line[LINE_MAX_BYTES];

	memset(d, 0, sizeof(*d));
	snprintf(d->name, sizeof(d->name), "%.31s", name);
	snprintf(path, sizeof(path), VIRTIO "/%s/device", d->name);
	if (!facts_line(path, line) || strcmp(line, BALLOON_ID))
		return false;
	snprintf(path, sizeof(path), VIRTIO "/%s/features", d->name);
	facts_line(path, line);
	snprintf(d->features, sizeof(d->features), "%.64s", line);
	read_driver(d);
	return true;
}

static void read_devices(struct facts *f)
{
	struct dirent **entry;
	char path[PATH_MAX];
	int i, nr;

	snprintf(path, sizeof(path), "%s" VIRTIO, base);
	nr = scandir(path, &entry, NULL, alphasort);
	for (i = 0; i < nr; i++) {
		if (f->nr_devices < DEVICES_MAX && entry[i]->d_name[0] != '.' &&
		    read_device(&f->device[f->nr_devices], entry[i]->d_name))
			f->nr_devices++;
		free(entry[i]);
	}
	if (nr >= 0)
		free(entry);
}

/* Does the kernel fill pages that are free with a pattern that has to stay? */
static bool is_poisoning(void)
{
	int fd = facts_open("/proc/cmdline", O_RDONLY);
	char line[8192];
	ssize_t size;

	size = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);
	line[size > 0 ? size : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return strstr(line, "page_poison=1") || strstr(line, "page_poison=on");
}

/**
 * facts_read - read all of it
 * @f: set
 */
void facts_read(struct facts *f)
{
	memset(f, 0, sizeof(*f));
	read_core(f);
	read_memory(f);
	read_blocks(f);
	read_pressure(f);
	read_devices(f);
	facts_line("/sys/hypervisor/type", f->hypervisor);
	f->poisoning = is_poisoning();
}

/**
 * facts_likely - the backend that this is about, in use or not
 * @f: the facts
 *
 * Return: the backend in use, or asked for, or else the one that fits this host.
 */
enum backend facts_likely(const struct facts *f)
{
	unsigned int i;

	for (i = 0; i < NR_BACKENDS; i++)
		if (!strcmp(f->backend, backends[i]))
			return i;
	for (i = 0; i < NR_BACKENDS; i++)
		if (!strcmp(f->asked, backends[i]))
			return i;
	if (!strcmp(f->hypervisor, "xen"))
		return BACKEND_XEN;
	if (*f->why[BACKEND_HYPERV] &&
	    strcmp(f->why[BACKEND_HYPERV], "this does not run on Hyper-V"))
		return BACKEND_HYPERV;
	return BACKEND_VIRTIO;
}

/**
 * facts_durable - does the backend in use hold memory, until it is needed?
 * @f: the facts
 *
 * Return: true if so; else what is given can be used again at any time.
 */
bool facts_durable(const struct facts *f)
{
	uint64_t held = f->number[NUMBER_HELD_BYTES];

	return !strcmp(f->backend, "xen") || (held && held != UNKNOWN);
}
