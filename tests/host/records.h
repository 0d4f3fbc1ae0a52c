/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a front-end sends, as a fuzzer's input: records of a struct record and
 * its bytes, which are sent as they are, so that messages may be cut and joined
 * in any way.
 */
#ifndef HOST_RECORDS_H
#define HOST_RECORDS_H

#include "bench.h"

struct record {
	uint8_t size;		/* of the bytes that follow */
	uint8_t fds;		/* how many, in the low 4 bits */
	uint16_t kinds;		/* of those, 2 bits each */
} __attribute__((packed));

void records_prepare(const struct bench *t);
bool records_send(const struct bench *t, int sock, const uint8_t **data,
		  size_t *size);

#endif /* HOST_RECORDS_H */
