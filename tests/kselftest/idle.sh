#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An idle guest is not woken: count, over a minute, every timer and work item of
# ours. Deferrable timers do not wake a CPU.
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
T=/sys/kernel/tracing
SECONDS_IDLE=${1:-60}
OURS='sampler_fn|update_fn|aeration_vb_stats_fn|watch_expired'
# The mm starts a pass of its own 2 s after a large block was freed, which something
# in the guest may do in this minute, too. One every 2 s would be 30.
PASS=page_reporting_process
PASSES_MOST=3

# empty FILE: or show what is in it
empty()
{
	[ -s "$1" ] || return 0
	cat "$1"
	return 1
}

ktap_start virtio
modprobe aeration_virtio
check "it runs" is $S/state running
check "surplus leaves" grows bytes
sleep 6
put $T/trace ""
put $T/events/timer/timer_start/enable 1
put $T/events/workqueue/workqueue_execute_start/enable 1
samples=$(stat samples)
sleep "$SECONDS_IDLE"
put $T/events/timer/timer_start/enable 0
put $T/events/workqueue/workqueue_execute_start/enable 0
grep -E "timer_start.*($OURS)" $T/trace | grep -v 'flags=.*D' >/tmp/timers
grep -E "workqueue_execute_start.*($OURS)" $T/trace >/tmp/works
grep -E "workqueue_execute_start.*$PASS" $T/trace >/tmp/passes
echo "# in $SECONDS_IDLE s: $(wc -l </tmp/timers) timers, $(wc -l </tmp/works) works of ours, $(wc -l </tmp/passes) passes, $(($(stat samples) - samples)) samples, $(wc -l <$T/trace) events in all"
check "the trace is alive" grep -q timer_start $T/trace
check "no timer of ours that wakes a CPU" empty /tmp/timers
check "no work of ours" empty /tmp/works
check "hardly a pass of the mm's" [ "$(wc -l </tmp/passes)" -le $PASSES_MOST ]
check "no sample" [ "$(stat samples)" -eq "$samples" ]
# A CPU that goes and comes takes its timer along, and is watched again.
put /sys/devices/system/cpu/cpu1/online 0
put /sys/devices/system/cpu/cpu1/online 1
sleep 1
samples=$(stat samples)
taskset 2 "$HERE/memwork" churn 256 2 >/dev/null
check "a CPU that was away is watched" [ "$(stat samples)" -gt "$samples" ]
# The same count sees a guest that is not idle.
put $T/trace ""
put $T/events/workqueue/workqueue_execute_start/enable 1
"$HERE/memwork" churn 256 3 >/dev/null
put $T/events/workqueue/workqueue_execute_start/enable 0
check "a guest that works is sampled" grep -qE "workqueue_execute_start.*sampler_fn" $T/trace
unload
ktap_end
