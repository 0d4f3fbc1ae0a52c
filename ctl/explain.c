// SPDX-License-Identifier: GPL-2.0
/*
 * Why is nothing given back, or not more? Goes through what can be the reason, from the
 * outside in, and says of each what is there, the figure, and what to do.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ctl.h"

/* Memory that is not worth a word, bytes: a guest always keeps some. */
#define LITTLE		(64 * MIB)

/* What is held is so close to a limit as blocks allow, bytes. */
#define NEAR		(8 * MIB)

/* A part of the last ten seconds, percent, that is worth a word. */
#define PRESSED		1.0

/* Virtio 1.2, 5.5.3. */
#define F_REPORTING	5

/* Only of the first: what follows from it is no reason of its own. */
static unsigned int nr_reasons;

static void __attribute__((format(printf, 2, 3)))
reason(const char *what_to_do, const char *format, ...)
{
	va_list args;

	printf("- ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n  %s\n", what_to_do);
	nr_reasons++;
}

static bool accepted(const struct device *d, unsigned int bit)
{
	return strlen(d->features) > bit && d->features[bit] == '1';
}

static bool is_ours(const struct device *d)
{
	return !strcmp(d->driver, "aeration_virtio");
}

/* The kernel has no aeration. */
static void not_loaded(void)
{
	char line[LINE_MAX_BYTES];

	if ((facts_line("/sys/kernel/security/lockdown", line) &&
	     !strstr(line, "[none]")) ||
	    (facts_line("/sys/module/module/parameters/sig_enforce", line) &&
	     *line == 'Y'))
		reason("Enrol the key that signed them (for DKMS: mokutil --import /var/lib/dkms/mok.pub, then reboot), or sign them with one that is enrolled.",
		       "This kernel takes signed modules only, and aeration is not loaded.");
	facts_line("/proc/sys/kernel/osrelease", line);
	reason("modprobe aeration. If there is no such module: install aeration-dkms and the headers of this kernel.",
	       "The modules are not loaded into this kernel, %s.",
	       line);
}

static void turned_off(const struct facts *f)
{
	reason("aerationctl on; from the next boot on: take aeration.backend=none off the kernel command line.",
	       "It was turned off (backend %s).", f->asked);
}

static void other_driver(const struct device *d)
{
	reason("Reboot: the package has ours come first. Without the package: rmmod it, and modprobe aeration_virtio.",
	       "%s has another driver: %s.", d->name, d->driver);
}

static void no_driver(const struct device *d)
{
	reason("modprobe aeration_virtio; if it is loaded, the kernel log says what it did not like.",
	       "%s has no driver.", d->name);
}

static void no_reports(const struct device *d)
{
	reason("On the host, QEMU: -device virtio-balloon-pci,free-page-reporting=on; libvirt: <memballoon freePageReporting='on'>.",
	       "The host's device %s does not take reports of free pages (feature bit %u).",
	       d->name, F_REPORTING);
}

static void poisoned(void)
{
	reason("Take page_poison=1 off the kernel command line. For init_on_free=1 it is enough that the host offers feature bit 4 (page poison).",
	       "This kernel fills pages when they are freed, and what is given back would lose that.");
}

/* Whether the reason is that ours has not seen a device yet: then drivers matter. */
static bool has_no_device(const struct facts *f)
{
	return !strncmp(f->why[BACKEND_VIRTIO], "no device", strlen("no device"));
}

static void refused(const struct facts *f)
{
	enum backend likely = facts_likely(f);

	reason("That is decided by what this guest runs on; docs/choosing.md has the rules.",
	       "%s: %s.", backend_name(likely), f->why[likely]);
}

/* No backend runs. */
static void look_at_devices(const struct facts *f)
{
	const struct device *d;

	if (facts_likely(f) != BACKEND_VIRTIO) {
		refused(f);
		return;
	}
	if (!f->nr_devices)
		reason("On the host, QEMU: -device virtio-balloon-pci,free-page-reporting=on; docs/hosts.md has other hypervisors.",
		       "There is no balloon device, and this is no Xen domain.");
	for (d = f->device; d < f->device + f->nr_devices; d++) {
		if (strstr(f->why[BACKEND_VIRTIO], "fills free pages"))
			poisoned();
		else if (is_ours(d) && !accepted(d, F_REPORTING))
			no_reports(d);
		else if (!has_no_device(f))
			refused(f);
		else if (!*d->driver)
			no_driver(d);
		else if (!is_ours(d))
			other_driver(d);
	}
}

static void look_at_state(const struct facts *f)
{
	switch (f->state) {
	case STATE_NOT_LOADED:
		not_loaded();
		return;
	case STATE_OFF:
		if (!strcmp(f->asked, "none")) {
			turned_off(f);
			return;
		}
		look_at_devices(f);
		if (strcmp(f->asked, "auto"))
			reason("aerationctl on: takes the one that fits this host.",
			       "Backend %s was asked for by name.", f->asked);
		return;
	case STATE_WAITING:
		reason("Unload the driver that has it, or wait: it is taken over.",
		       "Something else has to end first: %s.",
		       f->why[facts_likely(f)]);
		return;
	case STATE_FAILED:
		reason("The kernel log has more. A device that did not answer is tried again by itself; another one wants its driver bound again.",
		       "The device has failed: %s.", f->why[facts_likely(f)]);
		return;
	case STATE_RUNNING:
	case STATE_ODD:
		return;
	}
}

static uint64_t beyond(uint64_t bytes, uint64_t others)
{
	return bytes == UNKNOWN || others == UNKNOWN || bytes < others ?
		       0 : bytes - others;
}

/* It runs: what is there to give? */
static void look_at_memory(const struct facts *f)
{
	const uint64_t *n = f->number;
	uint64_t reserve = n[NUMBER_RESERVE_MB] * MIB;

	if (beyond(f->free, f->blocks) > LITTLE &&
	    beyond(f->free, f->blocks) > f->free / 4)
		reason("echo 1 > /proc/sys/vm/compact_memory puts pieces together; aeration.order= gives smaller ones, at a price.",
		       "%s of %s free are in pieces too small to be given (less than order %u).",
		       mib(beyond(f->free, f->blocks)), mib(f->free),
		       (unsigned int)n[NUMBER_ORDER]);
	if (reserve > f->free && reserve > LITTLE)
		reason("aerationctl set reserve 16M",
		       "%s are free, and %s are to be kept (reserve).",
		       mib(f->free), mib(reserve));
	if (f->cache != UNKNOWN && f->cache > LITTLE && f->cache > f->free / 4)
		reason("Cache is memory in use. To have it dropped now: sync; echo 1 > /proc/sys/vm/drop_caches (what is needed again is read again).",
		       "%s are cache, %s are free.", mib(f->cache),
		       mib(f->free));
	if (f->pressed >= PRESSED)
		reason("This guest is short of memory: what it lets go of it soon needs again.",
		       "Programs waited for memory in %.1f %% of the last ten seconds.",
		       f->pressed);
}

static void look_at_pace(const struct facts *f)
{
	const uint64_t *n = f->number;

	if (n[NUMBER_WINDOW_NOW_MS] != UNKNOWN &&
	    n[NUMBER_WINDOW_NOW_MS] > n[NUMBER_WINDOW_MS])
		reason("It gets shorter by itself once memory stays free; aerationctl set backoff 0s keeps it as it is.",
		       "Memory has to be free for %s now, not %s: %s were needed again too soon.",
		       seconds(n[NUMBER_WINDOW_NOW_MS]),
		       seconds(n[NUMBER_WINDOW_MS]),
		       mib(n[NUMBER_REGRETTED_BYTES]));
	else if (n[NUMBER_WINDOW_MS] != UNKNOWN && n[NUMBER_WINDOW_MS] > 10000)
		reason("aerationctl set window 1s",
		       "Memory has to be free for %s.",
		       seconds(n[NUMBER_WINDOW_MS]));
}

/* Return: most bytes that may be held, by @f->max_held; UNKNOWN: it is not known. */
static uint64_t most_held(const struct facts *f)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t value;
	char *end;

	value = strtoull(f->max_held, &end, 10);
	if (end == f->max_held || f->total == UNKNOWN)
		return UNKNOWN;
	if (*end == '%')
		return f->total / 100 * value;
	unit = *end ? strchr(units, *end) : NULL;
	return unit ? value << (10 * (unit - units + 1)) : value;
}

/* What is held, and may not be more, though there is more. */
static void look_at_limit(const struct facts *f)
{
	uint64_t most = most_held(f), held = f->number[NUMBER_HELD_BYTES];

	if (!strcmp(f->max_held, "0"))
		reason("aerationctl set max-held 87%",
		       "Nothing may be held (max_held is 0).");
	else if (most != UNKNOWN && held != UNKNOWN && f->blocks > LITTLE &&
		 f->blocks != UNKNOWN && held + NEAR >= most)
		reason("aerationctl set max-held 100% lets it hold more; if the hypervisor has none to give back then, this guest waits.",
		       "%s are held, as much as may be (max_held is %s), and %s more are free.",
		       mib(held), f->max_held, mib(f->blocks));
}

static void look_at_held(const struct facts *f)
{
	const uint64_t *n = f->number;

	if (strcmp(f->why[facts_likely(f)], "in use"))
		refused(f);
	else if (f->poisoning && !facts_durable(f))
		poisoned();
	if (n[NUMBER_STARVED] == 1)
		reason("The host is short of memory: shrink or move another domain. This one asks again by itself.",
		       "The guest needs memory that is held (%s), and the hypervisor has none to give.",
		       mib(n[NUMBER_HELD_BYTES]));
	if (facts_durable(f))
		look_at_limit(f);
	if (n[NUMBER_OUT_OF_REACH_BYTES] > LITTLE &&
	    n[NUMBER_OUT_OF_REACH_BYTES] != UNKNOWN && facts_durable(f))
		reason("movablecore= and kernelcore= on the kernel command line make such memory, and so does memory that is plugged in.",
		       "%s free memory cannot be held: it was promised to be movable.",
		       mib(n[NUMBER_OUT_OF_REACH_BYTES]));
	if (n[NUMBER_QUARANTINED] && n[NUMBER_QUARANTINED] != UNKNOWN)
		reason("The kernel log says what the hypervisor answered; a reboot brings them back.",
		       "%" PRIu64 " blocks are lost: the hypervisor did half of what it was asked.",
		       n[NUMBER_QUARANTINED]);
}

static void look_at_hypervisor(const struct facts *f)
{
	const uint64_t *n = f->number;

	if (n[NUMBER_ERRORS] && n[NUMBER_ERRORS] != UNKNOWN)
		reason("The kernel log says what the answer was.",
		       "The hypervisor did not take %" PRIu64 " batches, of which %" PRIu64 " were not answered in time.",
		       n[NUMBER_ERRORS], n[NUMBER_TIMEOUTS]);
	else if (n[NUMBER_REFUSED] && n[NUMBER_REFUSED] != UNKNOWN)
		reason("The kernel log says what the answer was.",
		       "The hypervisor refused %" PRIu64 " blocks.",
		       n[NUMBER_REFUSED]);
}

/**
 * explain_command - aerationctl explain
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit explain_command(int argc, char **argv)
{
	struct facts f;

	if (!takes(argc, argv, NULL, NULL))
		return EXIT_USAGE;
	facts_read(&f);
	status_print(&f, stdout);
	putchar('\n');
	look_at_state(&f);
	if (f.state == STATE_NOT_LOADED)
		return EXIT_NOT_LOADED;
	if (f.state != STATE_RUNNING)
		return EXIT_NOT;
	look_at_memory(&f);
	look_at_pace(&f);
	look_at_held(&f);
	look_at_hypervisor(&f);
	if (!nr_reasons)
		puts("Nothing keeps memory from going back.");
	return EXIT_DONE;
}
