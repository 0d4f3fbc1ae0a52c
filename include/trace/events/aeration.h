/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM aeration

#if !defined(_TRACE_AERATION_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_AERATION_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(aeration_submit,
	TP_PROTO(const char *backend, unsigned int blocks, u64 bytes),
	TP_ARGS(backend, blocks, bytes),
	TP_STRUCT__entry(
		__string(backend, backend)
		__field(unsigned int, blocks)
		__field(u64, bytes)
	),
	TP_fast_assign(
		compat_assign_str(backend, backend);
		__entry->blocks = blocks;
		__entry->bytes = bytes;
	),
	TP_printk("backend=%s blocks=%u bytes=%llu",
		  __get_str(backend), __entry->blocks, __entry->bytes)
);

DEFINE_EVENT(aeration_submit, aeration_batch_submit,
	TP_PROTO(const char *backend, unsigned int blocks, u64 bytes),
	TP_ARGS(backend, blocks, bytes)
);

DEFINE_EVENT(aeration_submit, aeration_restore_submit,
	TP_PROTO(const char *backend, unsigned int blocks, u64 bytes),
	TP_ARGS(backend, blocks, bytes)
);

DECLARE_EVENT_CLASS(aeration_ack,
	TP_PROTO(const char *backend, unsigned int taken, u64 bytes, u64 ns,
		 int err),
	TP_ARGS(backend, taken, bytes, ns, err),
	TP_STRUCT__entry(
		__string(backend, backend)
		__field(unsigned int, taken)
		__field(u64, bytes)
		__field(u64, ns)
		__field(int, err)
	),
	TP_fast_assign(
		compat_assign_str(backend, backend);
		__entry->taken = taken;
		__entry->bytes = bytes;
		__entry->ns = ns;
		__entry->err = err;
	),
	TP_printk("backend=%s taken=%u bytes=%llu ns=%llu err=%d",
		  __get_str(backend), __entry->taken, __entry->bytes,
		  __entry->ns, __entry->err)
);

DEFINE_EVENT(aeration_ack, aeration_batch_ack,
	TP_PROTO(const char *backend, unsigned int taken, u64 bytes, u64 ns,
		 int err),
	TP_ARGS(backend, taken, bytes, ns, err)
);

DEFINE_EVENT(aeration_ack, aeration_restore_ack,
	TP_PROTO(const char *backend, unsigned int taken, u64 bytes, u64 ns,
		 int err),
	TP_ARGS(backend, taken, bytes, ns, err)
);

TRACE_EVENT(aeration_state,
	TP_PROTO(const char *from, const char *to, const char *backend),
	TP_ARGS(from, to, backend),
	TP_STRUCT__entry(
		__string(from, from)
		__string(to, to)
		__string(backend, backend)
	),
	TP_fast_assign(
		compat_assign_str(from, from);
		compat_assign_str(to, to);
		compat_assign_str(backend, backend);
	),
	TP_printk("%s -> %s backend=%s", __get_str(from), __get_str(to),
		  __get_str(backend))
);

TRACE_EVENT(aeration_sample,
	TP_PROTO(unsigned long unused, unsigned long surplus,
		 unsigned long reported, u32 window_ms),
	TP_ARGS(unused, surplus, reported, window_ms),
	TP_STRUCT__entry(
		__field(unsigned long, unused)
		__field(unsigned long, surplus)
		__field(unsigned long, reported)
		__field(u32, window_ms)
	),
	TP_fast_assign(
		__entry->unused = unused;
		__entry->surplus = surplus;
		__entry->reported = reported;
		__entry->window_ms = window_ms;
	),
	TP_printk("unused=%lu surplus=%lu reported=%lu window_ms=%u",
		  __entry->unused, __entry->surplus, __entry->reported,
		  __entry->window_ms)
);

#endif /* _TRACE_AERATION_H */

#include <trace/define_trace.h>
