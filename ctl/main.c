// SPDX-License-Identifier: GPL-2.0
/* aerationctl: see and say what aeration does in this guest. */
#include <string.h>
#include "ctl.h"

static const char help[] =
	"usage: aerationctl [COMMAND]\n"
	"\n"
	"See what becomes of memory that this guest does not use:\n"
	"  status [--json]       what is given back, to whom, and why not (the default)\n"
	"  watch                 a line each second [--interval TIME] [--count LINES]\n"
	"  explain               why is nothing given back, or not more; what to do\n"
	"  metrics               for Prometheus [--output FILE]\n"
	"  report                what to attach to a bug\n"
	"\n"
	"Change it, as root, until the next boot:\n"
	"  flush [--again]       give back all that is free, now; what was given before, too\n"
	"  restore               take back all that is held, now\n"
	"    --wait              see how that ends; ^C cancels it\n"
	"  squeeze               give back cache that nobody has used lately, too, and see how\n"
	"                        that ends [--to SIZE | --cache PERCENT] [--within TIME]\n"
	"  on [BACKEND]          give back; by virtio, xen, hyperv or loop only\n"
	"  off                   give nothing back\n"
	"  set window 2s         also: backoff, reserve, max-held\n"
	"\n"
	"On a host, see what comes back to it, and what is promised:\n"
	"  host                  domains of Xen, in its domain 0\n"
	"  host --qmp SOCKET     a guest of QEMU [--interval TIME] [--count LINES]\n"
	"  host --qemu PID       the same, where there is no monitor: less is known\n"
	"\n"
	"  --root DIR            look at the files of another machine\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 done, or memory goes back; 1 not; 2 wrong command line;\n"
	"3 aeration is not in this kernel; 4 only root may.\n";

static const struct {
	const char *name;
	enum ctl_exit (*run)(int argc, char **argv);
} commands[] = {
	{ "status", status_command },
	{ "watch", watch_command },
	{ "explain", explain_command },
	{ "metrics", metrics_command },
	{ "report", report_command },
	{ "flush", flush_command },
	{ "restore", restore_command },
	{ "squeeze", squeeze_command },
	{ "on", on_command },
	{ "off", off_command },
	{ "set", set_command },
	{ "host", host_command },
};

static enum ctl_exit run(int argc, char **argv)
{
	size_t i;

	if (!argc)
		return status_command(0, NULL);
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
		fputs(help, stdout);
		return EXIT_DONE;
	}
	if (!strcmp(argv[0], "--version")) {
		puts("aerationctl " VERSION);
		return EXIT_DONE;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[0], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	/* "aerationctl --json" is what people try. */
	if (argv[0][0] == '-')
		return status_command(argc, argv);
	complain("there is no command \"%s\"; see aerationctl --help", argv[0]);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	enum ctl_exit status;

	argc--;
	argv++;
	if (argc && !strcmp(argv[0], "--root")) {
		if (argc == 1) {
			complain("--root wants a folder");
			return EXIT_USAGE;
		}
		facts_root(argv[1]);
		argc -= 2;
		argv += 2;
	}
	status = run(argc, argv);
	if (fflush(stdout) || ferror(stdout)) {
		complain("cannot write");
		return EXIT_NOT;
	}
	return (int)status;
}
