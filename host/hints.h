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
 * @HINTS_STOPPING: it is not wanted any more, and the guest has begun or may have; what
 *	it still hints is used, and not given back
 * @HINTS_OVER: it has said that it is at the end; its last buffers are not used yet
 */
enum hint_state {
	HINTS_NONE,
	HINTS_ASKED,
	HINTS_COMING,
	HINTS_STOPPING,
	HINTS_OVER,
};

/**
 * struct hints - a hint run, virtio 1.2, 5.5.6.5
 * @state: what has become of it
 * @id: the last command id
 * @told: bytes hinted in it, once it was over
 * @released: bytes given back to the host meanwhile, reports included
 * @released_before: of the device, when it was asked for
 * @began_ns: when it was asked for
 * @since_ns: when the guest was last asked, or heard, or the run was over
 * @failed: why the last one came to nothing, or NULL
 * @state_before: @state as it was before the buffers that are not used yet
 * @told_before: likewise, of @told
 */
struct hints {
	enum hint_state state;
	uint32_t id;
	uint64_t told;
	uint64_t released;
	uint64_t released_before;
	uint64_t began_ns;
	uint64_t since_ns;
	const char *failed;
	enum hint_state state_before;
	uint64_t told_before;
};

const char *hints_ask(struct balloon *b);
void hints_stop(struct balloon *b, const char *why);
void hints_forget(struct balloon *b, const char *why);
void hints_heard(struct balloon *b);
void hints_word(struct balloon *b, uint32_t word);
void hints_settle(struct balloon *b);
void hints_taking(struct balloon *b);
void hints_untake(struct balloon *b);
bool hints_over(const struct balloon *b);

#endif /* HINTD_HINTS_H */
