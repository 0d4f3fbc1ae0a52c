#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The core over the loop backend: every answer a device can give, and none.
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
L=/sys/kernel/debug/aeration_loop

# Free memory that was not reported yet.
fresh()
{
	"$HERE/memwork" churn 128 0.3 >/dev/null
}

ktap_start
modprobe aeration backend=loop window_ms=0 reserve_mb=0
check "without a device nothing runs" is $S/state off
check "and says why" has $S/why/loop "no device"
refuse ENODEV "flush without a backend is an error" put $S/flush 1
refuse EINVAL "a capacity above 32 is refused" modprobe aeration_loop capacity=33
check "and named" said "a capacity of 33 blocks is more than the 32 of a batch"
modprobe aeration_loop capacity=4 timeout_ms=2000
check "loop runs when asked for by name" is $S/backend loop
check "its capacity is kept" is $S/capacity 4
check "state is running" is $S/state running
check "the others say why they do not" has $S/why/xen "not a Xen domain"
check "batches are delivered" soon more batches 0
check "no batch is larger than the capacity" awk '$3 > 4 { exit 1 }' $L/batches

T=/sys/kernel/tracing
# fields EVENT NAME...: the event has these fields, and no others
fields()
{
	format=$T/events/aeration/$1/format
	shift
	names=$(sed -n 's/.* \([a-z_]*\)\(\[[0-9]*\]\)*;.*offset:.*/\1/p' "$format" |
		grep -v ^common_ | tr '\n' ' ')
	[ "$names" = "$* " ] && return
	echo "$format has: $names"
	return 1
}
for event in batch restore; do
	check "$event: fields on the way out" fields aeration_${event}_submit backend blocks bytes
	check "$event: and back" fields aeration_${event}_ack backend taken bytes ns err
done
check "state: fields" fields aeration_state from to backend
check "sample: fields" fields aeration_sample unused surplus reported window_ms
put $T/events/aeration/enable 1
fresh
check "batches are traced on their way out" soon has $T/trace "aeration_batch_submit: backend=loop blocks=4"
check "and on their way back" soon has $T/trace "aeration_batch_ack: backend=loop taken=4"
put $P/backend none
put $P/backend loop
put $T/events/aeration/enable 0
check "and so is the state" has $T/trace "aeration_state: off -> running backend=loop"

put $L/mode refuse
fresh
check "a device that refuses blocks is survived" grows refused
check "and it is on record" has $L/batches "refuse"
put $L/mode fail
put $L/fail_at 2
put $S/flush 1 2>/dev/null
fresh
check "a device that fails at a block is survived" soon has $L/batches " fail "
check "blocks before it were taken, those after it were not" \
	sh -c "grep ' fail 4 ' $L/batches | awk '
		\$4 ~ /!/ || \$5 ~ /!/ || \$6 !~ /!/ || \$7 !~ /!/ { exit 1 }'"
put $L/mode error
fresh
check "a device that fails as a whole is survived" grows errors
was=$(stat bytes)
put $L/mode ack
check "after a success" soon more bytes "$was"
put $S/window_ms 1000
put $L/mode error
"$HERE/memwork" churn 128 2 >/dev/null
check "errors within a window" grows errors
sleep 5
was=$(stat bytes)
put $L/mode ack
check "what was refused is offered again, though nothing moves" soon more bytes "$was"
put $S/window_ms 0
put $L/delay_ms 300
put $L/mode delay
fresh
check "a slow device is waited for" soon has $L/batches " delay "
was=$(stat batches)
put $L/mode ack
fresh
check "and it goes on when it is well again" soon more batches "$was"
refuse EINVAL "an unknown mode is refused" put $L/mode nonsense
check "and changes nothing" is $L/mode ack
check "flush reports what is there" put $S/flush 1
# What was freed meanwhile is surplus at once, and on its way.
check "nothing is in flight afterwards" soon zero $S/stats/in_flight_bytes

# Memory that is used again as soon as it was reported, COUNT times or until the window
# in force changes. The window is long enough for a slow guest to use it within one.
pulse()
{
	for _ in $(seq "$1"); do
		was=$(stat bytes)
		"$HERE/memwork" churn 256 0.05 >/dev/null
		is $S/window_now_ms 4000 >/dev/null || break
		soon more bytes $((was + (200 << 20))) >/dev/null || break
	done
}
put $S/window_ms 4000
check "the window in force is what was asked for" is $S/window_now_ms 4000
pulse 12
check "taking back what was reported is noticed" [ "$(cat $S/regretted_bytes)" -gt 0 ]
check "and has the window back off" [ "$(cat $S/window_now_ms)" -gt 4000 ]
put $S/backoff_ms 4000
check "unless it may not" is $S/window_now_ms 4000
pulse 2
check "and then it does not" is $S/window_now_ms 4000
put $S/backoff_ms 30000
put $S/window_ms 0

# Each batch takes a moment, and there are many.
put $S/window_ms 60000
"$HERE/memwork" burst 512 >/dev/null
put $L/delay_ms 50
put $L/mode delay
refuse EINTR "a signal ends a flush" "$HERE/poke" $S/flush 1 200
put $L/mode ack
check "and another one does the rest" put $S/flush 1
was=$(stat bytes)
put $S/flush 1
check "what was reported is not reported again" not more bytes $((was + (64 << 20)))
check "unless that is asked for" put $S/flush again
check "then all of it is" more bytes $((was + (400 << 20)))
refuse EINVAL "flush takes only a one" put $S/flush 2
refuse EOPNOTSUPP "there is nothing to restore" put $S/restore 1
put $S/window_ms 0

put $L/mode silent
fresh
check "a silent device fails in the end" soon is $S/state failed
check "its timeout is counted" is $S/stats/timeouts 1
check "sysfs says why" has $S/why/loop "did not answer"
check "its blocks came back" zero $S/stats/in_flight_bytes
check "nothing is quarantined" zero $S/hold/quarantined
refuse ENODEV "and it is not flushed" put $S/flush 1
check "it can be unloaded" rmmod aeration_loop
check "and then the core is off" is $S/state off
check "and used again after a reload" modprobe aeration_loop timeout_ms=600000
check "in running state" is $S/state running

put $L/mode silent
fresh &
check "with a batch in flight for minutes" soon sh -c "[ \$(cat $S/stats/in_flight_bytes) -gt 0 ]"
check "it unloads at once" rmmod aeration_loop
wait
check "and nothing is lost" zero $S/stats/in_flight_bytes
modprobe aeration_loop
"$HERE/memwork" churn 256 8 >/dev/null &
load=$!
for i in 1 2 3 4 5 6; do
	sleep 0.5
	rmmod aeration_loop && modprobe aeration_loop || break
done
check "it unloads and loads under load" [ "$i" -eq 6 ]
put $P/backend none
check "none stops it at run time" is $S/state off
put $P/backend loop
check "and by name it runs again" is $S/state running
wait $load
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
