#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An idle guest is not woken: count, over a minute, every timer and work item of
# ours and of the mm's reporting. Deferrable timers do not wake a CPU.
. "$(dirname "$0")/ktap.sh"
T=/sys/kernel/tracing
SECONDS_IDLE=${1:-60}
OURS='sampler_fn|page_reporting_process|update_fn|aeration_vb_stats_fn|watch_expired'

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
grep -E "timer_start.*delayed_work_timer_fn" $T/trace >/tmp/delayed
grep -E "workqueue_execute_start.*($OURS)" $T/trace >/tmp/works
echo "# in $SECONDS_IDLE s: $(wc -l </tmp/timers) timers, $(wc -l </tmp/works) works of ours, $(($(stat samples) - samples)) samples, $(wc -l <$T/trace) events in all"
check "the trace is alive" grep -q timer_start $T/trace
check "no timer of ours that wakes a CPU" [ ! -s /tmp/timers ]
check "no work of ours" [ ! -s /tmp/works ]
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
