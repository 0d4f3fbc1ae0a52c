// SPDX-License-Identifier: GPL-2.0
/* pacesim: what the pacer would have done in a guest, and what others would. */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "sim.h"

/* Intervals of the stock driver: as it is, and as some set it; ms. */
#define STOCK_MS	2000
#define STOCK_FAST_MS	250

/* As the watch: free memory has changed when it moves by so many blocks. */
#define STEP_BLOCKS	8
#define STEP_MIN	(16 * TRACE_MIB)
#define STEP_MAX	(64 * TRACE_MIB)

/* Largest values of options. */
#define PRICE_MAX_MS	3600000
#define RESERVE_MAX_MIB	(1 << 20)
#define ORDER_MAX	18
#define CAPACITY_MAX	4096
#define SECONDS_MAX	86400

#define POLICIES	4

struct options {
	struct rules rules;
	u32 price_ms;
	const char *kind;
	u64 seed;
	unsigned int seconds;
	bool write;
	bool json;
	const char *series;
	const char *name;
};

struct policy {
	const char *key;
	const char *title;
	struct result result;
};

static const char *const help =
"usage: pacesim [OPTION]... TRACE\n"
"       pacesim [OPTION]... --generate KIND\n"
"\n"
"Replays a trace of a guest's free memory to the pacer, the very code that is in\n"
"aeration.ko, to a model of the stock driver, and to somebody who knows the\n"
"future. For each it says how much memory the guest held beyond need, how much\n"
"was reported, how much of that was taken back (refaulted), and what it costs:\n"
"the memory held, and for each page taken back as much as to hold it for --price\n"
"ms. What is still reported at the end counts as taken back in the cost.\n"
"\n"
"A trace is a text file, or - for standard input. Each line is a time in ms and\n"
"the number of free pages (of 4 KiB) from then on; times rise, the last line is\n"
"the end, # begins a comment. tools/record-trace records one.\n"
"\n"
"  --window MS      the pacer's window (default 1000)\n"
"  --backoff MS     how far it may back off (default 30000)\n"
"  --price MS       price of a refault (default: the window)\n"
"  --reserve MIB    free memory to keep (default 16)\n"
"  --order N        free blocks have 2^N pages (default 10)\n"
"  --capacity N     blocks in a batch (default 32)\n"
"  --generate KIND  make a trace up: churn, build, burst or random\n"
"  --seed N         of this seed (default 1)\n"
"  --seconds N      of this length (default 120)\n"
"  --write          write the trace to standard output and do nothing else\n"
"  --json           print JSON instead of a table\n"
"  --series FILE    write what was free and what was reported over time, in MiB\n"
"  --help           this text\n";

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("pacesim: ", stderr);
	vfprintf(stderr, format, args);
	fputs("\n", stderr);
	va_end(args);
	exit(2);
}

static u64 number(const char *name, const char *text, u64 max)
{
	char *end;
	u64 value = strtoull(text, &end, 10);

	if (strspn(text, "0123456789") != strlen(text) || !*text ||
	    *end || value > max)
		fail("--%s takes a number up to %llu, not \"%s\"", name, max,
		     text);
	return value;
}

enum option_nr {
	WINDOW, BACKOFF, PRICE, RESERVE, ORDER, CAPACITY, GENERATE, SEED,
	SECONDS, WRITE, JSON, SERIES, HELP,
};

static const struct option known[] = {
	{ "window", required_argument, NULL, WINDOW },
	{ "backoff", required_argument, NULL, BACKOFF },
	{ "price", required_argument, NULL, PRICE },
	{ "reserve", required_argument, NULL, RESERVE },
	{ "order", required_argument, NULL, ORDER },
	{ "capacity", required_argument, NULL, CAPACITY },
	{ "generate", required_argument, NULL, GENERATE },
	{ "seed", required_argument, NULL, SEED },
	{ "seconds", required_argument, NULL, SECONDS },
	{ "write", no_argument, NULL, WRITE },
	{ "json", no_argument, NULL, JSON },
	{ "series", required_argument, NULL, SERIES },
	{ "help", no_argument, NULL, HELP },
	{ }
};

static void set_rule(struct rules *rules, int nr, const char *name)
{
	switch (nr) {
	case WINDOW:
		rules->window_ms = number(name, optarg, PACER_WINDOW_MAX_MS);
		break;
	case BACKOFF:
		rules->backoff_ms = number(name, optarg, PACER_WINDOW_MAX_MS);
		break;
	case RESERVE:
		rules->reserve = number(name, optarg, RESERVE_MAX_MIB) *
				 TRACE_MIB;
		break;
	case ORDER:
		rules->block = 1UL << number(name, optarg, ORDER_MAX);
		break;
	case CAPACITY:
		rules->capacity = number(name, optarg, CAPACITY_MAX);
		if (!rules->capacity)
			fail("--capacity takes 1 at least");
		break;
	}
}

static void set_option(struct options *o, int nr)
{
	const char *name = nr >= 0 && nr <= HELP ? known[nr].name : "";

	switch (nr) {
	case PRICE:
		o->price_ms = number(name, optarg, PRICE_MAX_MS);
		break;
	case GENERATE:
		o->kind = optarg;
		break;
	case SEED:
		o->seed = number(name, optarg, ~0ULL);
		break;
	case SECONDS:
		o->seconds = number(name, optarg, SECONDS_MAX);
		break;
	case WRITE:
		o->write = true;
		break;
	case JSON:
		o->json = true;
		break;
	case SERIES:
		o->series = optarg;
		break;
	case HELP:
		fputs(help, stdout);
		exit(0);
	case '?':
		exit(2);
	default:
		set_rule(&o->rules, nr, name);
	}
}

static struct options read_options(int argc, char **argv)
{
	struct options o = {
		.rules = {
			.window_ms = 1000,
			.backoff_ms = 30000,
			.reserve = 16 * TRACE_MIB,
			.block = 1024,
			.capacity = 32,
		},
		.price_ms = ~0U,
		.seed = 1,
		.seconds = 120,
	};
	int nr;

	while ((nr = getopt_long(argc, argv, "", known, NULL)) != -1)
		set_option(&o, nr);
	if (argc - optind != !o.kind)
		fail("one trace is needed, see --help");
	o.name = o.kind ? o.kind : argv[optind];
	if (o.price_ms == ~0U)
		o.price_ms = o.rules.window_ms;
	if (!o.price_ms || !o.seconds)
		fail("a price and a length of 0 make no sense");
	o.rules.step = STEP_BLOCKS * o.rules.block;
	if (o.rules.step < STEP_MIN)
		o.rules.step = STEP_MIN;
	if (o.rules.step > STEP_MAX)
		o.rules.step = STEP_MAX;
	return o;
}

static void read_trace(const struct options *o, struct trace *trace)
{
	FILE *from = stdin;

	if (o->kind) {
		if (!trace_generate(trace, o->kind, o->seed, o->seconds))
			fail("no such kind: %s; known: churn build burst random",
			     o->kind);
		return;
	}
	if (strcmp(o->name, "-"))
		from = fopen(o->name, "r");
	if (!from) {
		perror(o->name);
		exit(2);
	}
	if (!trace_read(trace, from, o->name))
		exit(2);
	if (from != stdin)
		fclose(from);
}

static double mib(u64 pages)
{
	return (double)pages / TRACE_MIB;
}

/* Pages times ms, as MiB times s. */
static double mib_s(u64 page_ms)
{
	return (double)page_ms / TRACE_MIB / 1000;
}

static double ratio(const struct policy *policy, const struct policy *best,
		    u32 price_ms)
{
	u64 least = sim_cost(&best->result, price_ms);
	u64 cost = sim_cost(&policy->result, price_ms);

	return least ? (double)cost / (double)least : cost ? 1e9 : 1;
}

static void print_table(const struct options *o, const struct policy *policies)
{
	unsigned int i;

	printf("%s; window %u ms, backoff %u ms, price %u ms\n\n", o->name,
	       o->rules.window_ms, o->rules.backoff_ms, o->price_ms);
	printf("%-16s %12s %12s %12s %12s %8s\n", "", "held MiB*s",
	       "reported MiB", "refault MiB", "cost MiB*s", "ratio");
	for (i = 0; i < POLICIES; i++) {
		const struct result *r = &policies[i].result;

		printf("%-16s %12.1f %12.1f %12.1f %12.1f %8.2f\n",
		       policies[i].title, mib_s(r->held), mib(r->reported),
		       mib(r->refaulted), mib_s(sim_cost(r, o->price_ms)),
		       ratio(&policies[i], &policies[POLICIES - 1],
			     o->price_ms));
	}
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text >= ' ')
			putchar(*text);
	}
	putchar('"');
}

static void print_json(const struct options *o, const struct policy *policies)
{
	unsigned int i;

	printf("{\"trace\": ");
	print_string(o->name);
	printf(", \"seed\": %llu, \"window_ms\": %u, \"backoff_ms\": %u, \"price_ms\": %u",
	       o->kind ? o->seed : 0, o->rules.window_ms, o->rules.backoff_ms,
	       o->price_ms);
	for (i = 0; i < POLICIES; i++) {
		const struct result *r = &policies[i].result;

		printf(",\n \"%s\": {\"held_mib_s\": %.3f, \"reported_bytes\": %llu, \"refaulted_bytes\": %llu, \"left_bytes\": %llu, \"cost_mib_s\": %.3f, \"ratio\": %.4f}",
		       policies[i].key, mib_s(r->held),
		       r->reported * TRACE_PAGE, r->refaulted * TRACE_PAGE,
		       r->left * TRACE_PAGE,
		       mib_s(sim_cost(r, o->price_ms)),
		       ratio(&policies[i], &policies[POLICIES - 1],
			     o->price_ms));
	}
	printf("}\n");
}

static void note_series(void *arg, const struct world *world)
{
	fprintf(arg, "%.3f %.1f %.1f\n", (double)world->now / 1000,
		mib(world->free), mib(world->reported));
}

int main(int argc, char **argv)
{
	struct options o = read_options(argc, argv);
	struct policy policies[POLICIES] = {
		{ .key = "ours", .title = "ours" },
		{ .key = "stock_2000", .title = "stock, 2000 ms" },
		{ .key = "stock_250", .title = "stock, 250 ms" },
		{ .key = "optimum", .title = "optimum" },
	};
	struct observer observer = { .moved = note_series };
	const struct observer *watching = NULL;
	struct trace trace = { };
	FILE *series = NULL;

	read_trace(&o, &trace);
	if (o.write) {
		trace_write(&trace, stdout);
		trace_end(&trace);
		return 0;
	}
	if (o.series) {
		series = fopen(o.series, "w");
		if (!series) {
			perror(o.series);
			return 2;
		}
		fprintf(series, "# s, free MiB, reported MiB: ours\n");
		observer.arg = series;
		watching = &observer;
	}
	policies[0].result = sim_ours(&trace, &o.rules, watching);
	if (series)
		fprintf(series, "\n\n# s, free MiB, reported MiB: stock, %u ms\n",
			STOCK_MS);
	policies[1].result = sim_stock(&trace, &o.rules, STOCK_MS, watching);
	policies[2].result = sim_stock(&trace, &o.rules, STOCK_FAST_MS, NULL);
	policies[3].result = sim_optimum(&trace, o.price_ms);
	if (series && fclose(series)) {
		perror(o.series);
		return 2;
	}
	(o.json ? print_json : print_table)(&o, policies);
	trace_end(&trace);
	return 0;
}
