# SPDX-License-Identifier: GPL-2.0
# What a person can ask for; kbuild never reads this.

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
TOP := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))

modules modules_install:
	@test -e "$(KDIR)/Makefile" || { \
	  echo "No kernel headers at $(KDIR): install linux-headers-$(KVER), or give others with KDIR=" >&2; \
	  exit 1; }
	$(MAKE) -C "$(KDIR)" M="$(TOP)" $@

.PHONY: modules modules_install
