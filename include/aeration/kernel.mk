# SPDX-License-Identifier: GPL-2.0
# What the kernel that is built for has: by what its headers and its list of exported
# symbols say, and not by its version, for distributions bring what is new to older
# kernels. compat.h goes by COMPAT_HAS_*. In the patterns, dots stand for parentheses.

# has NAME,PATTERN,FILES: COMPAT_HAS_NAME, if one of the files has a line like that
aeration-has = $(if $(shell grep -sq '$(2)' $(3) && echo y),-DCOMPAT_HAS_$(1))
aeration-include := $(srctree)/include
aeration-comma := ,

# 6.2: mm/page_reporting.c exports its order, and no header declares it.
subdir-ccflags-y += $(call aeration-has,REPORTING_ORDER,page_reporting_order.*EXPORT_SYMBOL\|EXPORT_SYMBOL_GPL.page_reporting_order,$(objtree)/Module.symvers $(srctree)/mm/page_reporting.c)
# 6.4
subdir-ccflags-y += $(call aeration-has,ACCOUNT_RECLAIMED,mm_account_reclaimed_pages,$(aeration-include)/linux/swap.h)
# 6.7: shrinkers are the mm's.
subdir-ccflags-y += $(call aeration-has,SHRINKER_ALLOC,shrinker_alloc,$(aeration-include)/linux/shrinker.h)
# 6.10: __assign_str() has one argument.
subdir-ccflags-y += $(call aeration-has,ASSIGN_STR_DST,define __assign_str.dst[^$(aeration-comma)],$(aeration-include)/trace/stages/stage6_event_callback.h)
# 6.11: one array describes virtqueues.
subdir-ccflags-y += $(call aeration-has,VIRTQUEUE_INFO,struct virtqueue_info .$$,$(aeration-include)/linux/virtio_config.h)
# 7.0: there are more than 64 features, and a driver hears of a shutdown.
subdir-ccflags-y += $(call aeration-has,VIRTIO_FEATURES,VIRTIO_FEATURES_U64S,$(aeration-include)/linux/virtio_features.h)
subdir-ccflags-y += $(call aeration-has,VIRTIO_SHUTDOWN,void ..shutdown..struct virtio_device,$(aeration-include)/linux/virtio.h)
# 7.0: what mm_vmscan_direct_reclaim_begin passes on.
subdir-ccflags-y += $(call aeration-has,RECLAIM_BEGIN_MEMCG,TP_PROTO.gfp_t gfp_flags. int order. struct mem_cgroup,$(aeration-include)/trace/events/vmscan.h)
# 7.0: reclaim is counted for each node.
subdir-ccflags-y += $(call aeration-has,RECLAIM_PER_NODE,^.PGSCAN_DIRECT[^_],$(aeration-include)/linux/mmzone.h)
# 7.0: the balloon core has another name.
subdir-ccflags-y += $(call aeration-has,BALLOON_H,struct balloon_dev_info,$(aeration-include)/linux/balloon.h)
# 7.0: the balloon core sees to what follows from a move, and counts its pages.
subdir-ccflags-y += $(call aeration-has,BALLOON_ADJUSTS,bool adjust_managed_page_count,$(aeration-include)/linux/balloon.h)
subdir-ccflags-y += $(call aeration-has,BALLOON_PAGES,NR_BALLOON_PAGES,$(aeration-include)/linux/mmzone.h)
