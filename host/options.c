// SPDX-License-Identifier: GPL-2.0
/* The conventions of the document, "Backend program conventions", and more. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "options.h"

/* Pages of the balloon in a MiB. */
#define PAGES_PER_MIB	256

/* Of a socket that is made: its owner may connect. */
#define MODE_DEFAULT	0600

enum option_key {
	OPTION_SOCKET = 256,
	OPTION_FD,
	OPTION_CONTROL,
	OPTION_MODE,
	OPTION_GROUP,
	OPTION_USER,
	OPTION_WIRE,
	OPTION_BALLOON,
	OPTION_PINNED,
	OPTION_RESERVED,
	OPTION_STATS,
	OPTION_STATS_FILE,
	OPTION_NO_SANDBOX,
	OPTION_CAPABILITIES,
};

static const struct option known[] = {
	{ "socket-path", required_argument, NULL, OPTION_SOCKET },
	{ "fd", required_argument, NULL, OPTION_FD },
	{ "control-socket", required_argument, NULL, OPTION_CONTROL },
	{ "socket-mode", required_argument, NULL, OPTION_MODE },
	{ "socket-group", required_argument, NULL, OPTION_GROUP },
	{ "user", required_argument, NULL, OPTION_USER },
	{ "wire", required_argument, NULL, OPTION_WIRE },
	{ "balloon", required_argument, NULL, OPTION_BALLOON },
	{ "allow-pinned", no_argument, NULL, OPTION_PINNED },
	{ "release-reserved", no_argument, NULL, OPTION_RESERVED },
	{ "stats", no_argument, NULL, OPTION_STATS },
	{ "stats-file", required_argument, NULL, OPTION_STATS_FILE },
	{ "no-sandbox", no_argument, NULL, OPTION_NO_SANDBOX },
	{ "print-capabilities", no_argument, NULL, OPTION_CAPABILITIES },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 }
};

static void print_help(void)
{
	fputs("usage: hintd --socket-path PATH [OPTION]...\n"
	      "\n"
	      "A virtio balloon device for QEMU 11.1 or later, in a process of its own.\n"
	      "Memory that the guest reports as free is given back to the host.\n"
	      "\n"
	      "  --socket-path PATH    listen here for QEMU\n"
	      "  --fd N                or take this socket, which was handed down\n"
	      "  --socket-mode MODE    who may connect to PATH, in octal (default 600)\n"
	      "  --socket-group NAME   give PATH to this group (with --socket-mode 660)\n"
	      "  --user NAME           become this user, when started as root\n"
	      "  --wire sg|hints       how the guest reports: free page reporting as in\n"
	      "                        virtio 1.2 (default), or words on the hinting\n"
	      "                        queue; the guest's aeration_virtio.wire= has to be\n"
	      "                        the same\n"
	      "  --balloon MIB         ask the guest to give up this much by balloon\n"
	      "  --control-socket PATH listen here for commands, and offer the guest free\n"
	      "                        page hints (bit 3); for guests with aeration_virtio\n"
	      "  --allow-pinned        release although QEMU has pinned or locked memory\n"
	      "  --release-reserved    release also huge pages and files on a file system\n"
	      "                        of limited size, whose place others can take\n"
	      "  --stats               show a line of statistics every second\n"
	      "  --stats-file PATH     keep statistics there as JSON\n"
	      "  --no-sandbox          keep privileges and system calls, for debugging\n"
	      "  --print-capabilities  what this back-end is, as JSON for QEMU and libvirt\n"
	      "  -h, --help            this text\n"
	      "\n"
	      "QEMU's side:\n"
	      "  -object memory-backend-memfd,id=ram,share=on,size=2G\n"
	      "  -machine memory-backend=ram -m 2G\n"
	      "  -chardev socket,id=hintd,path=PATH\n"
	      "  -device vhost-user-test-device-pci,virtio-id=5,num_vqs=5,\\\n"
	      "          vq_size=128,config_size=16,chardev=hintd\n"
	      "\n"
	      "Commands, one a line: flush (all that is free, now; answers how many bytes),\n"
	      "balloon MIB, stats. For example: echo flush | socat -t60 - UNIX:PATH\n"
	      "\n"
	      "NEVER beside a device that does DMA into guest memory: VFIO, vDPA, or another\n"
	      "back-end that pins it (SPDK, DPDK, RDMA). Such a device keeps a page that was\n"
	      "given back, and the guest sees another one: silent corruption. What QEMU itself\n"
	      "has pinned is seen, and nothing is released then; what other processes, or KVM\n"
	      "for an encrypted guest, have pinned is not.\n"
	      "\n"
	      "Exit status: 0 ended by a signal, or the connection of --fd has ended,\n"
	      "1 the system refused something, 2 wrong options, 3 no socket, 4 no sandbox,\n"
	      "5 guest memory went away.\n",
	      stdout);
}

/* QEMU's docs/interop/vhost-user.json, VHostUserBackendCapabilities. */
static void print_capabilities(void)
{
	puts("{\"type\": \"balloon\", \"features\": []}");
}

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

/* Return: whether it is a number, up to @most. */
static bool number(const char *text, int base, unsigned long most,
		   unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, base);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno &&
	       *value <= most;
}

static bool parse_balloon(struct options *o, const char *text)
{
	unsigned long most = UINT32_MAX / PAGES_PER_MIB, mib;

	if (!number(text, 10, most, &mib)) {
		say("--balloon %s: a number of MiB up to %lu", text, most);
		return false;
	}
	o->num_pages = (uint32_t)mib * PAGES_PER_MIB;
	return true;
}

static bool parse_fd(struct options *o, const char *text)
{
	unsigned long fd;

	if (!number(text, 10, INT_MAX, &fd)) {
		say("--fd %s: the number of a descriptor", text);
		return false;
	}
	o->fd = (int)fd;
	return true;
}

static bool parse_mode(struct options *o, const char *text)
{
	unsigned long mode;

	if (!number(text, 8, 0777, &mode)) {
		say("--socket-mode %s: permissions in octal, such as 660", text);
		return false;
	}
	o->mode = (mode_t)mode;
	o->chosen = true;
	return true;
}

static bool parse_one(struct options *o, int option)
{
	switch (option) {
	case OPTION_SOCKET:
		o->socket = optarg;
		return true;
	case OPTION_FD:
		return parse_fd(o, optarg);
	case OPTION_CONTROL:
		o->control = optarg;
		return true;
	case OPTION_MODE:
		return parse_mode(o, optarg);
	case OPTION_GROUP:
		o->group = optarg;
		o->chosen = true;
		return true;
	case OPTION_USER:
		o->user = optarg;
		return true;
	case OPTION_WIRE:
		return parse_wire(o, optarg);
	case OPTION_BALLOON:
		return parse_balloon(o, optarg);
	case OPTION_PINNED:
		o->allow_pinned = true;
		return true;
	case OPTION_RESERVED:
		o->release_reserved = true;
		return true;
	case OPTION_STATS:
		o->stats = true;
		return true;
	case OPTION_STATS_FILE:
		o->stats_file = optarg;
		return true;
	case OPTION_NO_SANDBOX:
		o->sandbox = false;
		return true;
	case OPTION_CAPABILITIES:
		o->print = print_capabilities;
		return true;
	case 'h':
		o->print = print_help;
		return true;
	default:	/* getopt has told what is wrong */
		return false;
	}
}

static bool check_socket(const struct options *o)
{
	if (o->socket && o->fd >= 0) {
		say("--socket-path and --fd: one of them, not both");
		return false;
	}
	if (!o->socket && o->fd < 0) {
		say("--socket-path PATH is needed, or --fd N");
		return false;
	}
	if (!o->socket && o->group) {
		say("--socket-group is for --socket-path: who handed a socket down has chosen its group");
		return false;
	}
	return true;
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
	o->wire = WIRE_SG;
	o->fd = -1;
	o->mode = MODE_DEFAULT;
	o->sandbox = true;
	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1)
		if (!parse_one(o, option))
			return false;
	if (o->print)
		return true;
	if (optind < argc) {
		say("%s: unknown argument", argv[optind]);
		return false;
	}
	return check_socket(o);
}
