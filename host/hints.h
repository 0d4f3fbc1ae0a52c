/* SPDX-License-Identifier: GPL-2.0 */
/* Hint runs: the host asks for all that is free, now. */
#ifndef HINTD_HINTS_H
#define HINTD_HINTS_H

#include <stdbool.h>
#include <stdint.h>

struct balloon;

/* Virtio 1.2, 5.5.6.5, values of free_page_hint_cmd_id that are no command. */
#define HINT_STOP	0
#define HINT_DONE	1
#define HINT_FIRST	2

/**
 * enum hint_state - what has become of a hint run
 * @HINTS_NONE: there is none
 * @HINTS_ASKED: the guest has not begun
 * @HINTS_COMING: it has
 * @HINTS_OVER: it has said that it is at the end; its last buffers are not used yet
 */
enum hint_state {
	HINTS_NONE,
	HINTS_ASKED,
	HINTS_COMING,
	HINTS_OVER,
};

/**
 * struct hints - a hint run, virtio 1.2, 5.5.6.5
 * @state: what has become of it
 * @id: the last command id
 * @told: bytes hinted in it, once it was over
 * @released: bytes given back to the host meanwhile, reports included
 * @released_before: of the device, when it was asked for
 * @failed: why the last one came to nothing, or NULL
 */
struct hints {
	enum hint_state state;
	uint32_t id;
	uint64_t told;
	uint64_t released;
	uint64_t released_before;
	const char *failed;
};

const char *hints_ask(struct balloon *b);
void hints_stop(struct balloon *b, const char *why);
void hints_word(struct balloon *b, uint32_t word);
void hints_settle(struct balloon *b);

#endif /* HINTD_HINTS_H */
