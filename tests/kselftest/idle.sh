#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# An idle guest is not woken: count, over ten minutes, every timer and work item of
# ours. Deferrable timers do not wake a CPU.
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
T=/sys/kernel/tracing
SECONDS_IDLE=${1:-600}
OURS='sampler_fn|surrender_fn|pass_fn|renew_fn|request_fn|update_fn|aeration_vb_stats_fn|cpu_timer_expired'
# The mm asks for a pass 2 s after a large block was freed, which something in the
# guest may do meanwhile, too. One every 2 s would be 300. The watch looks then,
# a few times, and in each period while the hypervisor takes what it found.
ASKED=pass_asked_fn
ASKED_MOST=$((SECONDS_IDLE / 20))
LOOKS=10

# no_more FILE LINES: or show what is in it
no_more()
{
	[ "$(wc -l <"$1")" -le "$2" ] && return
	cat "$1"
	return 1
}

# come_back MIB: does as much leave for the host, sooner or later?
come_back()
{
	soon more bytes $((left + ($1 << 20) - 1))
}

# looked_again: was there a sample nearly a window (of 1 s) after the mm had asked, or
# after another that saw the memory before the mm did?
looked_again()
{
	awk -v asked="$ASKED" '
		match($0, /[0-9]+\.[0-9]+:/) { now = substr($0, RSTART, RLENGTH - 1) }
		/sampler_fn/ {
			for (i = 1; i <= seen; i++)
				if (now - since[i] > 0.9)
					found = 1
		}
		$0 ~ asked || /sampler_fn/ { since[++seen] = now }
		END { exit !found }' $T/trace && return
	grep -E "$ASKED|$OURS" $T/trace
	return 1
}

# rest: wait until nobody samples any more, after the longest pause either, 16 s, which
# there is when what is free is not to be had
rest()
{
	for _ in $(seq 15); do
		before=$(stat samples)
		sleep 20
		[ "$(stat samples)" = "$before" ] && return
	done
	echo "still sampled after 300 s"
	return 1
}

# counted WHAT: nothing of ours runs while the guest is idle
counted()
{
	put $T/trace ""
	put $T/events/timer/timer_start/enable 1
	put $T/events/workqueue/workqueue_execute_start/enable 1
	samples=$(stat samples)
	sleep "$SECONDS_IDLE"
	samples=$(($(stat samples) - samples))
	put $T/events/timer/timer_start/enable 0
	put $T/events/workqueue/workqueue_execute_start/enable 0
	grep -E "timer_start.*($OURS)" $T/trace | grep -v 'flags=.*D' >/tmp/timers
	grep -E "workqueue_execute_start.*($OURS)" $T/trace >/tmp/works
	grep "workqueue_execute_start.*$ASKED" $T/trace >/tmp/asked
	looks=$(($(wc -l </tmp/asked) * LOOKS))
	echo "# $1: in $SECONDS_IDLE s $(wc -l </tmp/timers) timers, $(wc -l </tmp/works) works of ours, asked $(wc -l </tmp/asked) times, $samples samples, $(wc -l <$T/trace) events in all"
	check "$1: the trace is alive" grep -q timer_start $T/trace
	check "$1: hardly asked by the mm" no_more /tmp/asked $ASKED_MOST
	check "$1: no timer of ours that wakes a CPU" no_more /tmp/timers "$looks"
	check "$1: no work of ours" no_more /tmp/works "$looks"
	check "$1: no sample" [ "$samples" -le "$looks" ]
}

ktap_start virtio
# Nobody looks while memory is held, either.
modprobe aeration backend=loop
modprobe aeration_loop durable=1 capacity=512 scrub=N
check "hold: it runs" is $S/state running
check "hold: surplus goes" soon more bytes 0
check "hold: it rests" rest
counted hold
check "hold: and it is held" [ "$(cat $S/hold/held_bytes)" -gt 0 ]
unload
# What is freed later. A CPU is not to keep it for itself.
put /proc/sys/vm/percpu_pagelist_high_fraction 100000
"$HERE/memwork" hold 12 >/tmp/held &
held=$!
soon grep -q touched /tmp/held
modprobe aeration reserve_mb=0
modprobe aeration_virtio
check "it runs" is $S/state running
check "surplus leaves" soon more bytes 0
check "it rests" rest
counted virtio
# Less than counts as a move is freed, and nobody samples: only the mm notices.
check "it still rests" rest
left=$(stat bytes)
put $T/trace ""
put $T/events/workqueue/workqueue_execute_start/enable 1
kill -USR1 $held
check "a little that is freed leaves, too" come_back 6
check "it is looked for again when it is a window old" soon looked_again
put $T/events/workqueue/workqueue_execute_start/enable 0
kill $held
wait $held
put /proc/sys/vm/percpu_pagelist_high_fraction 0
check "and no pass was in vain for it" zero $S/stats/held_back
# What is used so shortly that no look sees it: with this window there are two in a
# second, once memory has settled for two windows.
put $S/window_ms 8000
put $S/backoff_ms 8000
for round in 1 2 3; do
	sleep 18
	left=$(stat bytes)
	taskset 2 "$HERE/memwork" burst 64 >/dev/null
	check "what was used for a moment leaves again ($round)" come_back 32
done
check "and no pass was in vain" zero $S/stats/held_back
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
