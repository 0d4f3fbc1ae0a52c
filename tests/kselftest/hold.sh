#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The hold source over a test device that takes memory away: what is held and
# what comes back, with every answer a device can give.
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
L=/sys/kernel/debug/aeration_loop
H=/sys/kernel/aeration/hold

start()
{
	modprobe aeration backend=loop window_ms=100 "$@" &&
		modprobe aeration_loop durable=1 capacity=64
}

meminfo()
{
	awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo
}

held_mib()
{
	echo $(($(cat $H/held_bytes) >> 20))
}

holds()
{
	[ "$(held_mib)" -ge "$1" ]
}

holds_no_more()
{
	[ "$(held_mib)" -le "$1" ]
}

# taken_more BLOCKS: were so many taken since $taken was read?
taken_more()
{
	[ "$(cut -d ' ' -f 1 $H/states)" -ge $((taken + $1)) ]
}

# adds_up: every block ever taken is in one state, each time one looks
adds_up()
{
	for _ in $(seq 20); do
		awk '{ exit $1 != $2 + $3 + $4 + $5 + $6 + $7 }' "$H/states" ||
			{ cat "$H/states"; return 1; }
	done
}

# settled: does nothing move any more? Blocks that are isolated, in flight or on
# their way back move, though the numbers are the same for a while.
settled()
{
	now=$(cat "$H/states")
	echo "$now" | awk '{ exit $3 || $4 || $6 }' || return
	sleep 0.5
	[ "$now" = "$(cat "$H/states")" ]
}

# knows: does the backend know how much is held?
knows()
{
	is $L/noted "$(cat $H/held_bytes)"
}

oom_kills()
{
	awk '$1 == "oom_kill" { print $2 }' /proc/vmstat
}

# burst MIB: memory used by a program, and given back
burst()
{
	"$HERE/memwork" churn "$1" 1 >/dev/null
}

# offline PFN: is the page marked so for tools that read memory (KPF_OFFLINE)?
offline()
{
	flags=$(od -A n -t u8 -j $((0x$1 * 8)) -N 8 /proc/kpageflags)
	[ $((flags >> 23 & 1)) -eq 1 ]
}

held_pfn()
{
	tail -n 1 $L/batches | sed -n 's,^[0-9]* [a-z]* [0-9]* \([0-9a-f]*\)/.*,\1,p'
}

# What the kernel would have to reclaim it does not count on by a part as large as its
# low watermarks, KiB.
MARKS=98304

ktap_start
modprobe aeration backend=loop window_ms=100
refuse "a capacity above 512 is refused" modprobe aeration_loop durable=1 capacity=513
check "and named" said "a capacity of 513 blocks is more than the 512 of a batch"
refuse "restore without a backend is an error" put $S/restore 1
modprobe aeration_loop
refuse "restore over a transient backend is an error" put $S/restore 1
unload

before=$(free_kib)
available=$(meminfo MemAvailable)
start
check "a durable device runs" is $S/state running
check "its capacity is kept" is $S/capacity 64
check "surplus is held" soon holds $(($(total_kib) / 1024 / 2))
check "and all of it" soon settled
check "every block is in one state" adds_up
check "the backend knows how much" soon knows
check "blocks were zero when they went" zero $L/dirty
check "memory that is held still counts as available" \
	not_less "$(meminfo MemAvailable)" "$available" $MARKS
check "the reserve stays free" [ "$(meminfo MemFree)" -ge 16384 ]
check "held pages are marked offline" offline "$(held_pfn)"
refuse "restore takes only a one" put $S/restore 0

kills=$(oom_kills)
mib=$(($(total_kib) * 85 / 100 / 1024))
check "a program gets all of it" burst $mib
check "nobody was killed for it" [ "$(oom_kills)" -eq "$kills" ]
check "it is held again afterwards" soon holds $((mib / 2))
check "no page was used while it was held" zero $L/touched
check "every block is still in one state" adds_up

put $S/max_held 64M
check "no more is held than may be" soon holds_no_more 64
put $S/max_held 25%
check "a share of the guest is understood" soon holds $(($(total_kib) / 1024 / 5))
check "and kept to" holds_no_more $(($(total_kib) / 1024 / 4))
check "it shows as it was written" is $S/max_held 25%
check "and as the parameter" is $P/max_held 25%
for bad in 101% 0% -1 50%% 1Mx "" %; do
	refuse "a limit of \"$bad\" is refused" put $S/max_held "$bad"
done
check "and changes nothing" is $S/max_held 25%
put $S/max_held 0
check "nothing is held if nothing may be" soon zero $H/held_bytes
put $S/max_held 100%
check "and all again if all may be" soon holds 1000
put $S/reserve_mb 512
check "a larger reserve is filled" soon sh -c "[ \$(awk '/^MemFree/ { print \$2 }' /proc/meminfo) -ge 500000 ]"
put $S/reserve_mb 16
put $S/window_ms 60000
check "everything comes back when asked for" put $S/restore 1
check "nothing is held then" zero $H/held_bytes
put $L/not_ready Y
put $S/window_ms 100
sleep 1
put $S/restore 1
taken=$(cut -d ' ' -f 1 $H/states)
sleep 2
check "nothing is taken while the backend is not ready" \
	[ "$(cut -d ' ' -f 1 $H/states)" = "$taken" ]
refuse "nor flushed" put $S/flush 1
put $L/not_ready N
check "when it is, it goes on" soon holds 1000
put $S/window_ms 60000
put $S/restore 1
check "a flush does not wait for the window" put $S/flush 1
check "it holds all surplus" holds 1000

# A device that takes a part of a batch, at every index, and then none of it.
put $S/max_held 16M
soon holds_no_more 16
for i in 0 1 2 3 4 5 6 7; do
	put $L/fail_at $i
	put $L/mode fail
	put $S/restore 1
	refused=$(stat refused)
	refuse "a part of a batch is not a success (block $i)" put $S/flush 1
	check "what was taken is held" is $H/held $i
	check "the rest was refused" [ "$(stat refused)" -eq $((refused + 8 - i)) ]
	check "nothing is lost" adds_up
	put $L/mode ack
done
for mode in refuse error; do
	put $S/restore 1
	put $L/mode $mode
	refuse "$mode: a flush says so" put $S/flush 1
	check "$mode: nothing is held" zero $H/held
	check "$mode: nothing is lost" adds_up
	put $L/mode ack
done

# A device that gives back a part of a batch, at every index.
for i in 0 1 2 3 4 5 6 7; do
	put $L/restore_mode ack
	put $S/restore 1
	put $S/flush 1
	put $L/restore_at $i
	put $L/restore_mode short
	put $S/reserve_mb 100000
	check "a part of a batch comes back (block $i)" soon sh -c "[ \$(cat $H/held) -lt 8 ] || [ $i -eq 0 ]"
	check "nothing is lost" adds_up
	put $L/restore_mode ack
	check "and the rest when there is memory again" soon zero $H/held
	put $S/reserve_mb 16
done

# A host without memory: the guest does without, and says so.
put $S/restore 1
put $S/max_held 100%
put $S/flush 1
for mode in none error; do
	soon holds 1000
	held=$(held_mib)
	put $L/restore_mode $mode
	asked=$(cat $L/restores)
	put $S/reserve_mb 100000
	check "$mode: the guest says that it is starved" soon is $H/starved 1
	check "$mode: and goes on" burst 16
	sleep 5
	check "$mode: nothing came back" [ "$(held_mib)" -eq "$held" ]
	asked=$(($(cat $L/restores) - asked))
	echo "# asked $asked times in 5 s"
	check "$mode: it asks now and then" [ $asked -ge 2 ]
	check "$mode: but does not spin" [ $asked -le 50 ]
	refuse "$mode: a restore on request fails" put $S/restore 1
	put $L/restore_mode ack
	check "$mode: it recovers" soon zero $H/held
	check "$mode: and is no longer starved" soon is $H/starved 0
	put $S/reserve_mb 16
	put $S/flush 1
done
check "the log says what to do" said "free memory on the host, or raise"
check "and that it is over" said "gives memory back again"

# A host without memory, and the module goes.
put $L/restore_mode none
put $P/backend none
check "what does not come back stays counted" holds 1000
check "and is named" said "stay out of use until backend loop starts again"
check "and does not count as available" \
	[ "$(meminfo MemAvailable)" -le "$(free_kib)" ]
put $L/restore_mode ack
put $P/backend loop
check "the backend that has it gets it back" soon is $S/state running
check "and counts as available again" \
	not_less "$(meminfo MemAvailable)" "$available" $MARKS
put $S/restore 1
check "all of it" zero $H/held
check "no page was used meanwhile" zero $L/touched

# A silent device fails; what is held comes back.
put $S/flush 1
soon holds 1000
echo 1000 >/sys/module/aeration_loop/parameters/timeout_ms
put $L/mode silent
burst 256
put $S/window_ms 100
check "a silent device fails in the end" soon is $S/state failed
check "what was held is back" zero $H/held
check "nothing is in flight" zero $H/in_flight
rmmod aeration_loop
check "unloading and loading" modprobe aeration_loop durable=1 capacity=64
soon holds 1000
check "unload with memory held" rmmod aeration_loop
check "all of it is back" zero $H/held
check "nothing is quarantined" zero $H/quarantined
all_free()
{
	not_less "$(free_kib)" "$before" 20480
}
check "all memory is free again" soon all_free

# Under load, in flight.
modprobe aeration_loop durable=1
"$HERE/memwork" churn 900 10 >/dev/null &
load=$!
for i in 1 2 3 4 5 6; do
	sleep 0.7
	put $P/backend none && zero "$H/held" && put $P/backend loop || break
done
check "it stops and starts under load" [ "$i" -eq 6 ]
wait $load
check "nobody was killed for it" [ "$(oom_kills)" -eq "$kills" ]
check "no page was used while it was held" zero $L/touched
unload

# Most of the guest is on its way to a device that takes its time.
modprobe aeration backend=loop window_ms=60000
modprobe aeration_loop durable=1 capacity=512 scrub=N
put $L/delay_ms 2000
put $L/mode delay
put $S/flush 1 &
flush=$!
check "most of the guest is in flight" soon sh -c "[ \$(cat $H/in_flight) -ge 400 ]"
check "a program that needs it gets it" burst $mib
check "nobody was killed for it" [ "$(oom_kills)" -eq "$kills" ]
put $L/mode ack
wait $flush
unload

# Once scrub is switched on, nothing is on its way that was taken without.
modprobe aeration backend=loop window_ms=60000 max_held=16M
modprobe aeration_loop durable=1 scrub=N
put $L/delay_ms 5000
put $L/mode delay
put $S/flush 1 &
flush=$!
check "a batch is on its way" soon sh -c "[ \$(cat $H/in_flight) -ge 1 ]"
put /sys/module/aeration_loop/parameters/scrub Y
check "scrub is on when that batch is there" zero $H/in_flight
wait $flush
put $L/mode ack
put $S/restore 1
put $S/flush 1
check "what goes then is zero" zero $L/dirty
unload

# Memory that was needed a moment ago is not taken at once.
start backoff_ms=0
soon holds 1000
check "all surplus is held" soon settled
put $S/window_ms 5000
sleep 6 # for the new window to be full
left=$(($(held_mib) - 400))
put $S/reserve_mb 512
check "a part of it comes back" soon holds_no_more $left
put $S/reserve_mb 16
# 200 blocks and more came back. What the system frees by itself may go: few.
taken=$(cut -d ' ' -f 1 $H/states)
sleep 2
refuse "what was restored is kept for a window" taken_more 50
check "and goes after it" soon taken_more 150
unload

# Smaller blocks.
start order=4
check "smaller blocks are held as well" soon holds 500
check "and are that small" is $S/order 4
put $P/backend none
check "and come back" zero $H/held
unload

# Blocks that get lost are counted and never used again. The last: they are gone.
start max_held=16M
soon holds 16
put $S/window_ms 60000
i=0
for mode in lose odd; do
	i=$((i + 1))
	put $S/restore 1
	put $S/flush 1
	put $L/restore_at 3
	put $L/restore_mode $mode
	put $S/restore 1
	check "$mode: the block is quarantined" is $H/quarantined $i
	put $L/restore_mode ack
	put $S/restore 1
	check "$mode: the others are back" zero $H/held
	check "$mode: every block is in one state" adds_up
done
check "a lost block does not starve the guest" is $H/starved 0
check "the log names the block" said "is quarantined: not all of it may be backed"
check "memory that is lost does not count as available" \
	[ "$(meminfo MemAvailable)" -le "$(free_kib)" ]
unload
check "and says at the end what is lost" said "unloaded with 4 MiB that are not backed"

# A device that loses blocks again and again is not given any more.
start max_held=64M
soon holds 64
put $S/window_ms 60000
put $L/restore_at 3
put $L/restore_mode lose
for _ in $(seq 30); do
	[ "$(cat $S/state)" = running ] || break
	put $S/restore 1
	put $S/flush 1
done
check "a device that goes on losing blocks fails" soon is $S/state failed
check "and says why" has $S/why/loop "in a state that is not known"
check "what it lost is bounded" [ "$(cat $H/quarantined)" -le 20 ]
check "the others are back" zero $H/held
check "every block is in one state" adds_up
rmmod aeration_loop
check "it can be loaded again" modprobe aeration_loop durable=1
check "and runs" is $S/state running
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
