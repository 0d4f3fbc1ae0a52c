// SPDX-License-Identifier: GPL-2.0
/* What there is to see, for people and as JSON. */
#include <inttypes.h>
#include <string.h>
#include "ctl.h"

/* Columns of the names. */
#define NAMES	"%-11s "

/* Accepted features that are told of, virtio 1.2, 5.5.3. */
static const struct {
	unsigned int bit;
	const char *name;
} features[] = {
	{ 5, "reports" },
	{ 3, "hint runs" },
	{ 1, "statistics" },
	{ 2, "deflate on OOM" },
	{ 4, "page poison" },
};

static const char *state_words(const struct facts *f)
{
	switch (f->state) {
	case STATE_NOT_LOADED:
		return "not loaded: nothing is given back by aeration";
	case STATE_OFF:
		return "off: nothing is given back";
	case STATE_WAITING:
		return "waiting: nothing is given back yet";
	case STATE_RUNNING:
		return "running: memory that is not used is given back";
	case STATE_FAILED:
		return "failed: nothing is given back";
	case STATE_ODD:
		break;
	}
	return f->word;
}

static bool known(const struct facts *f, enum number number)
{
	return f->number[number] != UNKNOWN;
}

static void print_given(const struct facts *f, FILE *out)
{
	const uint64_t *n = f->number;

	if (!known(f, NUMBER_BYTES))
		return;
	fprintf(out, NAMES "%s since the module was loaded, %s on the way\n",
		"given", mib(n[NUMBER_BYTES]),
		mib(n[NUMBER_IN_FLIGHT_BYTES]));
	if (facts_durable(f)) {
		fprintf(out, NAMES "%s since then\n", "came back",
			mib(n[NUMBER_RESTORED_BYTES]));
		fprintf(out, NAMES "%s, %s\n", "held", mib(n[NUMBER_HELD_BYTES]),
			n[NUMBER_STARVED] == 1 ?
				"some of it needed, and the hypervisor has none to give" :
				"until they are needed");
		if (known(f, NUMBER_FORFEITED_BYTES) &&
		    n[NUMBER_FORFEITED_BYTES])
			fprintf(out, NAMES "%s less, says the host\n", "asked of us",
				mib(n[NUMBER_FORFEITED_BYTES]));
	}
	if (n[NUMBER_REFUSED] || n[NUMBER_ERRORS] || n[NUMBER_TIMEOUTS])
		fprintf(out, NAMES "%" PRIu64 " blocks refused, %" PRIu64
			" batches failed, %" PRIu64 " not answered in time\n",
			"trouble", n[NUMBER_REFUSED], n[NUMBER_ERRORS],
			n[NUMBER_TIMEOUTS]);
}

static void print_window(const struct facts *f, FILE *out)
{
	const uint64_t *n = f->number;

	if (!known(f, NUMBER_WINDOW_MS))
		return;
	fprintf(out, NAMES "memory goes when it was free for %s", "window",
		seconds(n[NUMBER_WINDOW_MS]));
	if (n[NUMBER_WINDOW_NOW_MS] > n[NUMBER_WINDOW_MS])
		fprintf(out, "; now %s, because %s were needed again too soon",
			seconds(n[NUMBER_WINDOW_NOW_MS]),
			mib(n[NUMBER_REGRETTED_BYTES]));
	fputc('\n', out);
}

static void print_devices(const struct facts *f, FILE *out)
{
	const struct device *d;
	const char *comma;
	unsigned int i;

	for (d = f->device; d < f->device + f->nr_devices; d++) {
		fprintf(out, NAMES "%s, driver %s: ", "device", d->name,
			*d->driver ? d->driver : "none");
		comma = "";
		for (i = 0; i < sizeof(features) / sizeof(features[0]); i++)
			if (strlen(d->features) > features[i].bit &&
			    d->features[features[i].bit] == '1') {
				fprintf(out, "%s%s", comma, features[i].name);
				comma = ", ";
			}
		fprintf(out, "%s\n", *comma ? "" : "balloon only");
	}
}

/**
 * status_print - print it for people
 * @f: the facts
 * @out: where to
 */
void status_print(const struct facts *f, FILE *out)
{
	const char *name = "why not";
	unsigned int i;

	fprintf(out, NAMES "%s\n", "state",
		f->state == STATE_RUNNING &&
		strcmp(f->why[facts_likely(f)], "in use") ?
			f->why[facts_likely(f)] : state_words(f));
	if (f->state != STATE_NOT_LOADED)
		fprintf(out, NAMES "%s (asked for: %s)\n", "backend", f->backend,
			f->asked);
	print_given(f, out);
	print_window(f, out);
	fprintf(out, NAMES "%s, %s of it free, %s cache\n", "memory",
		mib(f->total), mib(f->free), mib(f->cache));
	print_devices(f, out);
	for (i = 0; i < NR_BACKENDS; i++)
		if (*f->why[i] && strcmp(f->why[i], "in use") &&
		    (f->state != STATE_RUNNING || i != facts_likely(f))) {
			fprintf(out, NAMES "%s: %s\n", name, backend_name(i),
				f->why[i]);
			name = "";
		}
}

/* A text in JSON, RFC 8259, 7; the kernel's texts are of ASCII. */
static void print_text(const char *text, FILE *out)
{
	fputc('"', out);
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", (unsigned int)*text);
		else
			fputc(*text, out);
	fputc('"', out);
}

static void print_member(const char *name, const char *text, FILE *out)
{
	fprintf(out, ", \"%s\": ", name);
	print_text(text, out);
}

static void print_number(const char *name, uint64_t value, FILE *out)
{
	if (value == UNKNOWN)
		fprintf(out, ", \"%s\": null", name);
	else
		fprintf(out, ", \"%s\": %" PRIu64, name, value);
}

/* The name of a number: that of its file, without a folder that says no more. */
static const char *number_name(enum number number)
{
	const char *file = number_file(number);

	return strchr(file, '/') ? strchr(file, '/') + 1 : file;
}

static void print_json(const struct facts *f, FILE *out)
{
	const struct device *d;
	const char *comma = "";
	unsigned int i;

	fprintf(out, "{\"loaded\": %s",
		f->state == STATE_NOT_LOADED ? "false" : "true");
	print_member("state", f->word, out);
	print_member("backend", f->backend, out);
	print_member("asked", f->asked, out);
	print_member("max_held", f->max_held, out);
	for (i = 0; i < NR_NUMBERS; i++)
		print_number(number_name(i), f->number[i], out);
	print_number("total_bytes", f->total, out);
	print_number("free_bytes", f->free, out);
	print_number("available_bytes", f->available, out);
	print_number("cache_bytes", f->cache, out);
	print_number("free_in_blocks_bytes", f->blocks, out);
	print_member("hypervisor", f->hypervisor, out);
	fputs(", \"why\": {", out);
	for (i = 0; i < NR_BACKENDS; i++) {
		fprintf(out, "%s\"%s\": ", i ? ", " : "", backend_name(i));
		print_text(f->why[i], out);
	}
	fputs("}, \"devices\": [", out);
	for (d = f->device; d < f->device + f->nr_devices; d++) {
		fprintf(out, "%s{\"name\": ", comma);
		print_text(d->name, out);
		print_member("driver", d->driver, out);
		print_member("features", d->features, out);
		fputc('}', out);
		comma = ", ";
	}
	fputs("]}\n", out);
}

/**
 * status_command - aerationctl status [--json]
 * @argc: how many arguments
 * @argv: they
 *
 * Return: the exit status.
 */
enum ctl_exit status_command(int argc, char **argv)
{
	struct facts f;
	bool json;

	if (!takes(argc, argv, "--json", &json))
		return EXIT_USAGE;
	facts_read(&f);
	if (json)
		print_json(&f, stdout);
	else
		status_print(&f, stdout);
	if (f.state == STATE_NOT_LOADED)
		return EXIT_NOT_LOADED;
	return f.state == STATE_RUNNING ? EXIT_DONE : EXIT_NOT;
}
