// SPDX-License-Identifier: GPL-2.0
/*
 * Domains of Xen, from its domain 0: what each has, and what it gave and may want back.
 * By the programs that every domain 0 has: docs/xen.md, "What the
 * toolstack sees".
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "host.h"

/* What the kernel says a domain 0 may do. */
#define CAPABILITIES	"/proc/xen/capabilities"

/* Bytes of a line of xl or xenstore-ls, and of a command. */
#define LINE_BYTES	512
#define COMMAND_BYTES	256

/* Domains are numbered up to here: DOMID_FIRST_RESERVED of Xen's public/xen.h. */
#define DOMAINS_MAX	0x7ff0UL

#define KIB		((uint64_t)1024)

/* More than any domain can have, KiB: sums of it for all domains fit 64 bits. */
#define KIB_MAX		((uint64_t)1 << 36)

/**
 * struct domain - one of them
 * @id: its number
 * @mib: what it has, MiB, as xl says
 * @held: what it gave and may want back, bytes; UNKNOWN: it does not say
 * @starved: it wants memory back, and gets none
 */
struct domain {
	unsigned long id;
	uint64_t mib;
	uint64_t held;
	bool starved;
};

/* Return: false, after a complaint, if the command has failed. */
static bool ends_well(FILE *from, const char *command)
{
	int status = pclose(from);

	if (!status)
		return true;
	complain("%s: exit status %d", command,
		 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return false;
}

/* Return: a number that xenstore has of a domain; 0 if there is none. */
static uint64_t ask_number(const struct domain *d, const char *node)
{
	char command[COMMAND_BYTES], line[LINE_BYTES] = "";
	FILE *from;

	snprintf(command, sizeof(command),
		 "xenstore-read /local/domain/%lu/%s 2>/dev/null", d->id, node);
	from = popen(command, "re");
	if (!from)
		return 0;
	if (!fgets(line, sizeof(line), from))
		*line = '\0';
	pclose(from);
	return strtoull(line, NULL, 10);
}

/*
 * A domain that has never had aeration has none of these. It writes them itself, and is
 * not believed to have given more than it can ever have had.
 */
static void ask_xenstore(struct domain *d)
{
	char command[COMMAND_BYTES], line[LINE_BYTES], name[16];
	uint64_t most = ask_number(d, "memory/static-max");
	unsigned long long value;
	FILE *from;

	d->held = UNKNOWN;
	d->starved = false;
	if (!most || most > KIB_MAX)
		most = KIB_MAX;
	snprintf(command, sizeof(command),
		 "xenstore-ls /local/domain/%lu/data/aeration 2>/dev/null", d->id);
	from = popen(command, "re");
	if (!from)
		return;
	while (fgets(line, sizeof(line), from)) {
		if (sscanf(line, "%15s = \"%llu\"", name, &value) != 2)
			continue;
		if (!strcmp(name, "held"))
			d->held = (value < most ? value : most) * KIB;
		else if (!strcmp(name, "starved"))
			d->starved = value == 1;
	}
	pclose(from);
}

/* Is there a xenstore to ask? Where it says nothing of a domain, that is its answer. */
static bool has_xenstore(void)
{
	static const char command[] = "xenstore-list /local/domain >/dev/null";
	FILE *from = popen(command, "re");

	return from && ends_well(from, "xenstore-list");
}

/*
 * A line of xl is a name, in which there may be anything, and five fields: number,
 * memory, processors, state, time. Return: false if it is none of a domain.
 */
static bool read_domain(char *line, struct domain *d)
{
	char *field[5];
	char *end;
	int i;

	line[strcspn(line, "\n")] = '\0';
	for (i = 4; i >= 0; i--) {
		end = line + strlen(line);
		while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
			*--end = '\0';
		while (end > line && end[-1] != ' ' && end[-1] != '\t')
			end--;
		if (end == line)
			return false;
		field[i] = end;
		/* The separator before it ends what is left. */
		end[-1] = '\0';
	}
	end = line + strlen(line);
	while (end > line && end[-1] == ' ')
		*--end = '\0';
	d->id = strtoul(field[0], &end, 10);
	if (*end || d->id >= DOMAINS_MAX)
		return false;
	d->mib = strtoull(field[1], &end, 10);
	return !*end;
}

static bool read_free(uint64_t *bytes)
{
	char line[LINE_BYTES], *end = line;
	FILE *from = popen("xl info free_memory", "re");
	bool got;

	if (!from)
		return false;
	got = fgets(line, sizeof(line), from);
	if (got)
		*bytes = strtoull(line, &end, 10) * MIB;
	if (!ends_well(from, "xl info"))
		return false;
	if (got && end != line)
		return true;
	complain("xl info free_memory says no number");
	return false;
}

/**
 * host_of_xen - show what the domains of this Xen have and have given
 *
 * Return: the exit status: EXIT_NOT if one is starved, or more is promised than Xen has.
 */
enum ctl_exit host_of_xen(void)
{
	uint64_t promised = 0, available;
	char line[LINE_MAX_BYTES], row[LINE_BYTES];
	bool starved = false, well;
	struct domain d;
	FILE *from;

	if (!facts_line(CAPABILITIES, line) || !strstr(line, "control_d")) {
		complain("this is no domain 0 of Xen (%s does not say control_d); for a guest of QEMU: --qmp or --qemu",
			 CAPABILITIES);
		return EXIT_NOT;
	}
	if (!has_xenstore())
		return EXIT_NOT;
	from = popen("xl list", "re");
	if (!from) {
		complain("xl cannot be started");
		return EXIT_NOT;
	}
	printf("%-24s %5s %11s %11s  %s\n", "domain", "id", "memory", "held",
	       "starved");
	while (fgets(row, sizeof(row), from)) {
		if (!read_domain(row, &d))
			continue;
		ask_xenstore(&d);
		printf("%-24s %5lu %11s %11s  %s\n", row, d.id,
		       mib(d.mib * MIB), d.held == UNKNOWN ? "-" : mib(d.held),
		       d.held == UNKNOWN ? "-" : d.starved ? "yes" : "no");
		promised += d.held == UNKNOWN ? 0 : d.held;
		starved |= d.starved;
	}
	well = ends_well(from, "xl list");
	if (!well || !read_free(&available))
		return EXIT_NOT;
	printf("\nXen has %s free. %s of that are promised: domains may want them back.\n",
	       mib(available), mib(promised));
	if (promised > available) {
		printf("That is %s more than there are: whoever comes last waits. Move a domain away, or have one shrink.\n",
		       mib(promised - available));
		return EXIT_NOT;
	}
	return starved ? EXIT_NOT : EXIT_DONE;
}
