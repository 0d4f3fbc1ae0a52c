# SPDX-License-Identifier: GPL-2.0
# What a person can ask for; kbuild never reads this.
#
## Aeration: hand free memory of a guest back to its hypervisor.
##
## For a guest:
##   make                     build the modules for this machine's kernel
##   make modules KDIR=DIR    build them against the kernel headers in DIR
##   make modules_install     install them; root; INSTALL_MOD_PATH=DIR for a tree
##
##   make aerationctl         build build/ctl/aerationctl, which shows what becomes of
##                            memory, and says why; see its --help
##   make aerationctl_install install it, its manual and its completion; PREFIX=/usr/local
##   make deb                 make Debian packages of all of it, in build/deb
##
## For a host:
##   make hintd               build build/host/hintd, a balloon device for QEMU
##   make hintd_install       install it and its manual; PREFIX=/usr/local
##
## In a kernel source tree:
##   make install-tree LINUX=DIR    put aeration into it: drivers/aeration, to be
##                            built in or as modules; its selftests, too
##   make uninstall-tree LINUX=DIR  take it out again; the tree is as it was
##
## On a development machine (Debian, amd64):
##   make demo                show how fast freed memory is back with the host: on
##                            QEMU, beside the stock driver, and on Xen, where it
##                            is needed again; results in build/results
##       PLACE=qemu             only that half; or PLACE=xen; PLACE=debian is both,
##                            with a disk of Debian on which packages were installed
##       KERNEL=6.12            in guests with this kernel (default 6.1)
##       MIB=1000               free this much (default 1500)
##       HOST=hintd             over hintd, beside QEMU's own device
##   make bench               measure beside the stock drivers; results in
##                            build/results, tables on the terminal
##       ONLY=release           this part; or churn, mixed, pagefault, cost, hints,
##                            gaps, noise, fleet, snapshot, build, xen; several may
##                            be; or aged, which is for make check-long
##       KERNEL=6.12            in guests with this kernel (default 6.1)
##       ROUNDS=9               so many rounds of each (default 3; xen: 5)
##       MINUTES=60             for so long the work of aged (default 10)
##   make bench-compare OLD=FILE NEW=FILE
##                            compare two result files of it
##   make check               run what a change can make fail, each test once, with
##                            kernels and Xens in turn; the last line is the verdict
##       KERNEL="6.1 6.12"      boot these kernels only
##       TESTS=tests/test_lab.py  run these only; several, or FILE::TEST, may be
##       ROTATE=7               take the turns of that number (default: of commits)
##       JOBS=1                 tests beside each other (default 3, which keeps two
##                            processors busy)
##   make check-all           run everything, with every kernel and Xen
##       RESUME=1               what one that was cut short on the same sources has
##                              not passed
##   make check-long          what takes hours: fuzzing, and loads that do not end
##       MINUTES=60             for so long each part (default 30)
##       AGAIN=1                from the beginning; else what an earlier one that
##                            was cut short has not done yet
##   make soak                of these what guests and hosts do in an order by chance,
##                            on QEMU, with hintd, in a Debian guest, on Xen; tables
##                            of what is left each time in build/results
##       HOURS=1                for so long, two places beside each other (default 8)
##       SEED=7                 another order (default 1)
##       AGAIN=1                as above
##   make mutants             of these the search for tests that find a fault: three are
##                            put into each file of core/ and backends/, one at a time;
##                            what came of each in build/results/mutants.json
##       ONLY=core/api.c        this file's only; or one, core/api.c-2
##       AGAIN=1                as above
##   make trust               print what there is to show of trust: adversaries, proofs,
##                            calls that fail, faults that tests find, the soak, the
##                            sentences of docs/security.md; of what was run, results
##   make matrix              the part of it that boots one image on every host:
##                            a table on the terminal, and in build/results
##       LIST=1                 list the cells, and say which are left out and why
##       CELL=pvh-4.17-auto-6.1   this cell only; or several, or "pvh-*"
##       KERNEL=6.1             cells with these kernels only
##       JOBS=1                 cells beside each other (default 2, and 1 where less
##                            than 8 GiB of memory are free)
##   make fuzz                feed hostile input to hintd's parts; shows what was
##                            executed and the lines it reached
##   make pacesim             build build/pacesim/pacesim, which replays traces of
##                            free memory to the pacer; see its --help
##   make pacing-plot         draw docs/pacing.png anew with it
##       SECONDS=300            for so long each (default 300)
##   make setup               install packages, make build roots, get kernels
##   make image               build the guest image of the tests
##   make kernels             build those kernels of our own that look at what is done
##                            to them, kept in the cache; make check-all runs on those
##                            that are there, and skips what is for the others
##   make clean               remove what was built, and the logs of tests
##   make clean-cache         remove build roots and kernels, kept for all trees
##   make help                this text

TOP := $(patsubst %/tools/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
JOBS ?= 3
TESTS ?= tests

# The lab runs kbuild and other makes of its own, which must see nothing of
# this one. Only this Python has the pytest that setup.sh installs.
PLAIN_ENV := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
	     -u MAKE_TERMOUT -u MAKE_TERMERR -u KDIR -u KVER -u KERNEL -u MIB \
	     -u TESTS -u JOBS -u HOST -u SECONDS -u PLACE -u ONLY -u ROUNDS \
	     -u OLD -u NEW -u CELL -u LIST -u ROTATE -u MINUTES -u AGAIN \
	     -u RESUME -u HOURS -u SEED \
	     PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests
PYTHON := $(PLAIN_ENV) /usr/bin/python3
KERNEL_OPTIONS := $(foreach one,$(KERNEL),--kernel $(one))

.DEFAULT_GOAL := modules

modules modules_install:
	@test -e "$(KDIR)/Makefile" || { \
	  echo "No kernel headers at $(KDIR): install linux-headers-$(KVER), or give others with KDIR=" >&2; \
	  exit 1; }
	$(MAKE) -C "$(KDIR)" M="$(TOP)" $@

aerationctl:
	@$(MAKE) --no-print-directory -C "$(TOP)/ctl" \
	  OUTPUT="$(TOP)/build/ctl" aerationctl

aerationctl_install:
	@$(MAKE) --no-print-directory -C "$(TOP)/ctl" \
	  OUTPUT="$(TOP)/build/ctl" install

deb:
	@exec "$(TOP)/tools/make-deb" "$(TOP)/build/deb"

hintd:
	@$(MAKE) --no-print-directory -C "$(TOP)/host" \
	  OUTPUT="$(TOP)/build/host" hintd

hintd_install:
	@$(MAKE) --no-print-directory -C "$(TOP)/host" \
	  OUTPUT="$(TOP)/build/host" install

pacesim:
	@$(MAKE) --no-print-directory -C "$(TOP)/tools/pacesim" \
	  OUTPUT="$(TOP)/build/pacesim"

pacing-plot:
	@$(MAKE) --no-print-directory -C "$(TOP)/tools/pacesim" \
	  OUTPUT="$(TOP)/build/pacesim" plot

# Each fuzzer after the other; what it finds out is kept for the next time.
fuzz: packages
	@$(MAKE) --no-print-directory -C "$(TOP)/tests/host" \
	  OUTPUT="$(TOP)/build/fuzz" fuzz

help:
	@sed -n 's/^##\( \|$$\)//p' "$(TOP)/tools/targets.mk"

packages:
	@exec "$(TOP)/tests/lab/setup.sh"

install-tree uninstall-tree:
	@test -n "$(LINUX)" || { \
	  echo "Into which kernel source tree? make $@ LINUX=DIR" >&2; exit 1; }
	@/usr/bin/env python3 "$(TOP)/tools/install-tree.py" \
	  $(@:-tree=) "$(LINUX)"

# With an unknown kernel this fails first and names those there are.
setup: packages
	@cd "$(TOP)" && exec $(PYTHON) -m lab setup $(KERNEL_OPTIONS)

image: setup
	@cd "$(TOP)" && exec $(PYTHON) -m lab image

kernels: setup
	@cd "$(TOP)" && exec $(PYTHON) -m lab kernels

# HOST in the environment is a machine's name, to some shells.
demo: packages
	@cd "$(TOP)" && exec $(PYTHON) tools/demo/demo.py \
	  $(if $(PLACE),--place "$(PLACE)") \
	  $(if $(KERNEL),--kernel "$(KERNEL)") $(if $(MIB),--mib "$(MIB)") \
	  $(if $(findstring command line,$(origin HOST)),--host "$(HOST)")

bench: packages
	@cd "$(TOP)" && exec $(PYTHON) tools/bench/bench.py run \
	  $(foreach one,$(ONLY),--only "$(one)") \
	  $(if $(KERNEL),--kernel "$(KERNEL)") \
	  $(if $(ROUNDS),--rounds "$(ROUNDS)") \
	  $(if $(MINUTES),--minutes "$(MINUTES)")

bench-compare:
	@test -n "$(OLD)" -a -n "$(NEW)" || { \
	  echo "Two result files are needed: make bench-compare OLD=FILE NEW=FILE" >&2; \
	  exit 1; }
	@exec $(PYTHON) "$(TOP)/tools/bench/bench.py" compare "$(OLD)" "$(NEW)"

# Each test boots a guest of its own, so they can run beside each other; but for
# those of a group, which share a machine.
PYTEST = $(PYTHON) -m pytest -p no:cacheprovider \
	  $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadgroup) \
	  $(KERNEL_OPTIONS)

check: TIER := check
check-all: TIER := all
check check-all: image
	@cd "$(TOP)" && exec $(PYTEST) -v --tier $(TIER) \
	  $(if $(ROTATE),--rotate "$(ROTATE)") $(if $(RESUME),--resume) $(TESTS)

LONG = $(PYTEST) -v --tier long $(if $(SEED),--seed "$(SEED)") \
	  $(if $(AGAIN),--again)

check-long: image
	@cd "$(TOP)" && exec $(LONG) $(if $(MINUTES),--minutes "$(MINUTES)") $(TESTS)

# Four places in two turns.
soak: JOBS := 2
soak: image
	@minutes=$$(awk -v hours="$(or $(HOURS),8)" 'BEGIN { print hours * 30 }') && \
	  cd "$(TOP)" && exec $(LONG) --minutes "$$minutes" tests/test_soak.py

mutants: image
	@cd "$(TOP)" && exec $(LONG) $(if $(ONLY),-k "$(ONLY)") \
	  tests/test_mutants.py

trust:
	@cd "$(TOP)" && exec $(PYTHON) tests/trust.py

# What CELL and KERNEL name is looked at before anything is built.
CELL_OPTIONS = $(foreach one,$(CELL),--cell "$(one)")

# A cell takes up to 3 GiB.
matrix: JOBS := $(if $(filter-out file,$(origin JOBS)),$(JOBS),$(shell \
	  awk '/^MemAvailable:/ { print $$2 < 8388608 ? 1 : 2 }' /proc/meminfo))
matrix: matrix-list $(if $(LIST),,image)
	@$(if $(LIST),:,cd "$(TOP)" && exec $(PYTEST) -q -rN --tier all --cell-lines \
	  -o console_output_style=classic $(CELL_OPTIONS) \
	  tests/test_matrix.py::test_cell)

matrix-list: packages
	@cd "$(TOP)" && exec $(PYTHON) -m pytest --tier all --list-cells \
	  $(KERNEL_OPTIONS) \
	  $(CELL_OPTIONS) tests/test_matrix.py $(if $(LIST),,>/dev/null)

clean:
	cd "$(TOP)" && rm -rf build tests/kselftest/out
	cd "$(TOP)" && find . -name .git -prune -o -type f \( -name '*.o' \
	  -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
	  -o -name '.*.cmd' -o -name '.*.d' -o -name modules.order \
	  -o -name Module.symvers \) -exec rm -f {} +

clean-cache:
	@cd "$(TOP)" && exec $(PYTHON) -m lab clean-cache

.PHONY: modules modules_install install-tree uninstall-tree aerationctl aerationctl_install deb hintd \
	hintd_install pacesim pacing-plot fuzz help packages setup image kernels demo \
	bench bench-compare check check-all check-long soak mutants trust matrix matrix-list clean clean-cache
