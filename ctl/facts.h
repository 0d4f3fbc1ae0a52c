/* SPDX-License-Identifier: GPL-2.0 */
/* What this guest says of itself: read once, the same for all that is printed. */
#ifndef CTL_FACTS_H
#define CTL_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number that the kernel does not tell. */
#define UNKNOWN		UINT64_MAX

/* Most bytes of a line in sysfs that is kept, with its end. */
#define LINE_MAX_BYTES	256

/* Most virtio balloon devices that are looked at. */
#define DEVICES_MAX	4

#define MIB		((uint64_t)1024 * 1024)

/**
 * enum state - what the core does, docs/abi/sysfs-kernel-aeration
 * @STATE_NOT_LOADED: it is not there
 * @STATE_OFF: no backend is in use
 * @STATE_WAITING: one is chosen, and something else has to end first
 * @STATE_RUNNING: surplus memory goes
 * @STATE_FAILED: the device has failed
 * @STATE_ODD: a word that this program does not know
 */
enum state {
	STATE_NOT_LOADED,
	STATE_OFF,
	STATE_WAITING,
	STATE_RUNNING,
	STATE_FAILED,
	STATE_ODD,
};

/**
 * enum number - numbers of the core, by their file in sysfs
 *
 * What each means is in docs/abi/sysfs-kernel-aeration; number_file() has the file.
 */
enum number {
	NUMBER_WINDOW_MS,
	NUMBER_WINDOW_NOW_MS,
	NUMBER_BACKOFF_MS,
	NUMBER_REGRETTED_BYTES,
	NUMBER_RESERVE_MB,
	NUMBER_ORDER,
	NUMBER_CAPACITY,
	NUMBER_BATCHES,
	NUMBER_BLOCKS,
	NUMBER_BYTES,
	NUMBER_REFUSED,
	NUMBER_ERRORS,
	NUMBER_TIMEOUTS,
	NUMBER_HELD_BACK,
	NUMBER_SAMPLES,
	NUMBER_IN_FLIGHT_BYTES,
	NUMBER_RESTORES,
	NUMBER_RESTORED_BYTES,
	NUMBER_HELD_BYTES,
	NUMBER_STARVED,
	NUMBER_FORFEITED_BYTES,
	NUMBER_OUT_OF_REACH_BYTES,
	NUMBER_QUARANTINED,
	NR_NUMBERS
};

/**
 * enum backend - who may tell the hypervisor
 */
enum backend {
	BACKEND_VIRTIO,
	BACKEND_XEN,
	BACKEND_HYPERV,
	BACKEND_LOOP,
	NR_BACKENDS
};

/**
 * struct device - a virtio balloon device
 * @name: its name on the virtio bus
 * @driver: the driver that has it, or ""
 * @features: accepted feature bits, a '0' or '1' each, the lowest first
 */
struct device {
	char name[32];
	char driver[32];
	char features[65];
};

/**
 * struct facts - what this guest says of itself
 * @state: what the core does
 * @word: the word for it
 * @backend: name of the backend in use, or "none"
 * @asked: what was asked for: "auto", a name, "none"
 * @max_held: as it is set
 * @why: of each backend, in words
 * @number: numbers of the core
 * @total: bytes of memory, as the next four
 * @free: free
 * @available: free, or can be had without swapping
 * @cache: page cache and what of slabs can be had, without shared memory
 * @blocks: free, in blocks that are large enough to be given
 * @pressed: how much of the last ten seconds somebody waited for memory, percent, or
 *	less than 0
 * @poisoning: free pages are filled with a pattern
 * @nr_devices: devices
 * @device: they
 * @hypervisor: what the kernel says it runs on, or ""
 */
struct facts {
	enum state state;
	char word[LINE_MAX_BYTES];
	char backend[LINE_MAX_BYTES];
	char asked[LINE_MAX_BYTES];
	char max_held[LINE_MAX_BYTES];
	char why[NR_BACKENDS][LINE_MAX_BYTES];
	uint64_t number[NR_NUMBERS];
	uint64_t total;
	uint64_t free;
	uint64_t available;
	uint64_t cache;
	uint64_t blocks;
	double pressed;
	bool poisoning;
	unsigned int nr_devices;
	struct device device[DEVICES_MAX];
	char hypervisor[LINE_MAX_BYTES];
};

void facts_root(const char *root);
void facts_read(struct facts *f);
bool facts_line(const char *path, char *line);
const char *number_file(enum number number);
const char *backend_name(enum backend backend);
enum backend facts_likely(const struct facts *f);
bool facts_durable(const struct facts *f);

int facts_open(const char *path, int flags);
int facts_write(const char *path, const char *text);

#endif /* CTL_FACTS_H */
