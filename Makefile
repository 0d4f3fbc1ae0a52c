# SPDX-License-Identifier: GPL-2.0
# Aeration. Included by kbuild this builds objects; called by a person it
# offers targets, see "make help".

ifneq ($(KERNELRELEASE),)

ifneq ($(KBUILD_EXTMOD),)
# Out of the kernel tree nobody configures: everything is a module.
CONFIG_AERATION ?= m
CONFIG_AERATION_VIRTIO ?= m
CONFIG_AERATION_HYPERV ?= $(if $(CONFIG_HYPERV),m)
CONFIG_AERATION_LOOP ?= m
ifeq ($(CONFIG_XEN)$(CONFIG_X86_64),yy)
CONFIG_AERATION_XEN ?= m
endif
export CONFIG_AERATION CONFIG_AERATION_VIRTIO CONFIG_AERATION_XEN \
       CONFIG_AERATION_HYPERV CONFIG_AERATION_LOOP
subdir-ccflags-y += -I$(KBUILD_EXTMOD)/include
include $(KBUILD_EXTMOD)/include/aeration/kernel.mk
endif

obj-$(CONFIG_AERATION) += core/
obj-$(CONFIG_AERATION_VIRTIO) += backends/virtio/
obj-$(CONFIG_AERATION_XEN) += backends/xen/
obj-$(CONFIG_AERATION_HYPERV) += backends/hyperv-stub/
obj-$(CONFIG_AERATION_LOOP) += backends/loop/

# For tests; asked for by the lab on make's command line.
obj-$(CONFIG_AERATION_FAULTS) += tests/faults/

else

# By its own path: this may be called with "make -f" from anywhere.
include $(dir $(abspath $(lastword $(MAKEFILE_LIST))))tools/targets.mk

endif
