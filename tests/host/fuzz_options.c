// SPDX-License-Identifier: GPL-2.0
/*
 * Any command line: it is taken or refused, and what is taken makes sense.
 *
 * Input: words, each ended by a 0.
 */
#include <getopt.h>
#include <string.h>
#include "bench.h"
#include "options.h"

#define WORDS_MOST	16

/* The document of the socket's permissions: nothing but those. */
#define MODE_BITS	0777

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[4096], *argv[WORDS_MOST + 2] = { "hintd" };
	struct options o;
	int argc = 1;
	char *at;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	for (at = text; at < text + size && argc <= WORDS_MOST;
	     at += strlen(at) + 1)
		argv[argc++] = at;
	/* Of getopt: begin anew, and complain to nobody. */
	optind = 0;
	opterr = 0;
	if (!options_parse(&o, argc, argv) || o.print)
		return 0;
	MUST(!o.socket != (o.fd < 0));
	MUST(!(o.mode & ~MODE_BITS));
	MUST(o.wire == WIRE_SG || o.wire == WIRE_HINTS);
	MUST(o.num_pages % 256 == 0);
	MUST(!o.group || (o.chosen && o.socket));
	return 0;
}
