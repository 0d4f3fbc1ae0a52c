// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "options.h"

/* Pages of the balloon in a MiB. */
#define PAGES_PER_MIB	256

static const struct option known[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "wire", required_argument, NULL, 'w' },
	{ "balloon", required_argument, NULL, 'b' },
	{ "stats", no_argument, NULL, 'l' },
	{ "stats-file", required_argument, NULL, 'f' },
	{ "no-sandbox", no_argument, NULL, 'n' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static bool parse_wire(struct options *o, const char *text)
{
	bool sg = !strcmp(text, "sg");

	if (!sg && strcmp(text, "hints")) {
		say("--wire %s: known are sg and hints", text);
		return false;
	}
	o->wire = sg ? WIRE_SG : WIRE_HINTS;
	return true;
}

static bool parse_balloon(struct options *o, const char *text)
{
	unsigned long mib;
	char *end;

	errno = 0;
	mib = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno ||
	    mib > UINT32_MAX / PAGES_PER_MIB) {
		say("--balloon %s: a number of MiB up to %lu", text,
		    (unsigned long)UINT32_MAX / PAGES_PER_MIB);
		return false;
	}
	o->num_pages = (uint32_t)mib * PAGES_PER_MIB;
	return true;
}

static bool parse_one(struct options *o, int option)
{
	switch (option) {
	case 's':
		o->socket = optarg;
		return true;
	case 'w':
		return parse_wire(o, optarg);
	case 'b':
		return parse_balloon(o, optarg);
	case 'l':
		o->stats = true;
		return true;
	case 'f':
		o->stats_file = optarg;
		return true;
	case 'n':
		o->sandbox = false;
		return true;
	case 'h':
		o->help = true;
		return true;
	default:	/* getopt has told what is wrong */
		return false;
	}
}

/**
 * options_parse - read the command line
 * @o: set from it
 * @argc: as main's
 * @argv: as main's; kept
 *
 * Return: false if it is wrong; the reason is told.
 */
bool options_parse(struct options *o, int argc, char **argv)
{
	int option;

	memset(o, 0, sizeof(*o));
	o->wire = WIRE_HINTS;
	o->sandbox = true;
	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1)
		if (!parse_one(o, option))
			return false;
	if (o->help)
		return true;
	if (optind < argc) {
		say("%s: unknown argument", argv[optind]);
		return false;
	}
	if (!o->socket)
		say("--socket PATH is needed");
	return o->socket;
}

/**
 * options_help - print help to standard output
 */
void options_help(void)
{
	fputs("usage: hintd --socket PATH [OPTION]...\n"
	      "\n"
	      "A virtio balloon device for QEMU 11.1 or later, in a process of its own.\n"
	      "Memory that the guest reports as free is given back to the host.\n"
	      "\n"
	      "  --socket PATH      listen here for QEMU\n"
	      "  --wire hints|sg    how the guest reports: words on the hinting queue\n"
	      "                     (default), or virtio 1.2 free page reporting; the\n"
	      "                     guest's aeration_virtio.wire= has to be the same\n"
	      "  --balloon MIB      ask the guest to give up this much by balloon\n"
	      "  --stats            show a line of statistics every second\n"
	      "  --stats-file PATH  keep statistics there as JSON\n"
	      "  --no-sandbox       keep privileges and system calls, for debugging\n"
	      "  -h, --help         this text\n"
	      "\n"
	      "QEMU's side:\n"
	      "  -object memory-backend-memfd,id=ram,share=on,size=2G\n"
	      "  -machine memory-backend=ram -m 2G\n"
	      "  -chardev socket,id=hintd,path=PATH\n"
	      "  -device vhost-user-test-device-pci,virtio-id=5,num_vqs=5,\\\n"
	      "          vq_size=128,config_size=16,chardev=hintd\n"
	      "\n"
	      "Exit status: 0 ended by a signal, 1 the system refused something,\n"
	      "2 wrong options, 3 no socket, 4 no sandbox, 5 guest memory went away.\n",
	      stdout);
}
