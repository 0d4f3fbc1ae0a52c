#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The hold source over a test device that takes memory away: what is held and
# what comes back, with every answer a device can give.
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
L=/sys/kernel/debug/aeration_loop
H=/sys/kernel/aeration/hold
R=/sys/kernel/aeration/request
T=/sys/kernel/tracing

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
	first_line $H/held_bytes
	echo $((ktap_line >> 20))
}

holds()
{
	first_line $H/held_bytes
	[ $((ktap_line >> 20)) -ge "$1" ]
}

# flushes MIB: let go of all surplus: is so much held then? A guest that used memory a
# moment ago keeps some more free for a while.
flushes()
{
	put $S/flush 1
	holds "$1"
}

# asked WHAT: is that what was asked for last, and what became of it?
asked()
{
	[ "$(cut -d ' ' -f 2,3 $R/status)" = "$1" ]
}

holds_no_more()
{
	first_line $H/held_bytes
	[ $((ktap_line >> 20)) -le "$1" ]
}

# free_mib MIB: is so much free?
free_mib()
{
	[ "$(meminfo MemFree)" -ge $(($1 * 1000)) ]
}

# sum_of FIELD EVENT: of all such events in the trace
sum_of()
{
	sed -n "s/.*$2.*\\b$1=\([0-9]*\).*/\1/p" $T/trace |
		awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# flying BLOCKS: are so many on their way?
flying()
{
	first_line $H/in_flight
	[ "$ktap_line" -ge "$1" ]
}

# taken_more BLOCKS: were so many taken since $taken was read?
taken_more()
{
	first_line $H/states
	[ "${ktap_line%% *}" -ge $((taken + $1)) ]
}

sums_up()
{
	[ "$1" -eq $(($2 + $3 + $4 + $5 + $6 + $7)) ] && return
	echo "$*"
	return 1
}

# adds_up: every block ever taken is in one state, each time one looks
adds_up()
{
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		first_line $H/states
		# shellcheck disable=SC2086	# seven numbers
		sums_up $ktap_line || return
	done
}

rests()
{
	[ $(($3 + $4 + $6)) -eq 0 ]
}

# settled: does nothing move any more? Blocks that are isolated, in flight or on
# their way back move, though the numbers are the same for a while.
settled()
{
	first_line $H/states
	now=$ktap_line
	# shellcheck disable=SC2086	# seven numbers
	rests $now || return
	sleep 0.5
	is $H/states "$now"
}

# some_are_back: of a batch, unless none should be
some_are_back()
{
	first_line $H/held
	[ "$ktap_line" -lt 8 ] || [ "$i" -eq 0 ]
}

# knows: does the backend know how much is held?
knows()
{
	first_line $H/held_bytes
	is $L/noted "$ktap_line"
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
refuse EINVAL "a capacity above 512 is refused" modprobe aeration_loop durable=1 capacity=513
check "and named" said "a capacity of 513 blocks is more than the 512 of a batch"
refuse ENODEV "restore without a backend is an error" put $S/restore 1
modprobe aeration_loop
refuse EOPNOTSUPP "restore over a transient backend is an error" put $S/restore 1
unload

# The first event that is traced makes the buffers so large, for good.
put $T/buffer_size_kb 1408
total=$(($(total_kib) / 1024))
most=$((total / 2))
measure_free foreign
available=$(meminfo MemAvailable)
start
check "a durable device runs" is $S/state running
check "its capacity is kept" is $S/capacity 64
check "surplus is held" soon holds $most
check "and all of it" soon settled
check "every block is in one state" adds_up
check "the backend knows how much" soon knows
check "blocks were zero when they went" zero $L/dirty
check "memory that is held still counts as available" \
	not_less "$(meminfo MemAvailable)" "$available" $MARKS
check "the reserve stays free" [ "$(meminfo MemFree)" -ge 16384 ]
check "held pages are marked offline" offline "$(held_pfn)"
refuse EINVAL "restore takes only a one" put $S/restore 0

kills=$(oom_kills)
# A kernel keeps up to 48 MiB of it on lists of its processors (7.3, two of them).
mib=$((total * 80 / 100))
check "a program gets all of it" burst $mib
check "nobody was killed for it" [ "$(oom_kills)" -eq "$kills" ]
check "it is held again afterwards" soon holds $((mib / 2))
check "no page was used while it was held" zero $L/touched
check "every block is still in one state" adds_up

# A program that takes and frees the same over and over needs it once: that comes back,
# and a floor that is no more than twice that. Processors may keep an eighth of the guest
# on lists of their own, and marks that the kernel raises take less than half as much.
soon holds $most
check "nothing moves" soon settled
put $S/window_ms 60000
some=$((total / 8))
held=$(held_mib)
check "a program takes and frees the same for a while" "$HERE/memwork" churn $some 3
back=$((held - $(held_mib)))
echo "# $back MiB came back for $some"
check "what it takes comes back" [ $back -ge $((some / 2)) ]
check "not as often as it takes it" [ $back -le $((total * 9 / 16)) ]
sleep 1
check "and no more when it is done" holds $((held - back - 8))
put $S/window_ms 100

put $S/max_held 64M
check "no more is held than may be" soon holds_no_more 64
put $S/max_held 25%
check "a share of the guest is understood" soon holds $((total / 5))
check "and kept to" holds_no_more $((total / 4))
check "it shows as it was written" is $S/max_held 25%
check "and as the parameter" is $P/max_held 25%
for bad in 101% 0% -1 50%% 1Mx "" %; do
	refuse EINVAL "a limit of \"$bad\" is refused" put $S/max_held "$bad"
done
check "and changes nothing" is $S/max_held 25%
put $S/max_held 0
check "nothing is held if nothing may be" soon zero $H/held_bytes
put $S/max_held 100%
check "and all again if all may be" soon holds $most
put $S/reserve_mb $((total / 4))
check "a larger reserve is filled" soon free_mib $((total / 4))
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
refuse EAGAIN "nor flushed" put $S/flush 1
check "what is waited for is said" is $S/why/loop \
	"in use; nothing goes at present: the test device is told to wait"
check "and in the log" said "loop: nothing goes at present: the test device is told"
put $L/not_ready N
check "when it is, it goes on" soon holds $most
check "and that is said, too" is $S/why/loop "in use"

# What the host allows, and what it has said it does not give back.
put $L/limit_mb 64
check "no more is held than the host allows" soon holds_no_more 64
put $P/backend none
put $P/backend loop
soon holds 32
check "what goes rests" soon settled
check "nor when it is chosen anew" holds_no_more 64
put $S/max_held 32M
check "nor than was asked for here" soon holds_no_more 32
put $S/max_held 100%
put $L/limit_mb 1048576
check "all goes where the host allows it" soon holds $most
put $S/window_ms 60000
check "and no more goes" soon settled
all=$(meminfo MemTotal)
available=$(meminfo MemAvailable)
put $L/forfeit_mb 64
check "so much is forfeited" is $L/forfeit_mb 64
check "and shown" is $H/forfeited_bytes 67108864
check "that is no memory of the guest's" [ "$(meminfo MemTotal)" -eq $((all - 65536)) ]
check "nor available" [ "$(meminfo MemAvailable)" -le $((available - 65536 + 16384)) ]
first_line $H/held_bytes
check "it is held all the same, and the backend knows what can be had" \
	is $L/noted $((ktap_line - 67108864))
put $L/forfeit_mb 4096
check "no more is forfeited than is held" is $L/forfeit_mb "$(held_mib)"
put $L/forfeit_mb 64
put $S/restore 1
check "all but what is forfeited comes back" is $H/held_bytes 67108864
check "nothing else is held then" zero $L/noted
check "every block is in one state with some forfeited" adds_up
put $L/forfeit_mb 0
check "all memory is the guest's again" [ "$(meminfo MemTotal)" -eq "$all" ]
check "and comes back when asked for" put $S/restore 1
check "all of it" zero $H/held_bytes
check "no page was used while it was forfeited" zero $L/touched
put $L/forfeit_mb 64
check "what is not held cannot be forfeited" is $L/forfeit_mb 0
put $S/window_ms 100
check "it goes on" soon holds $most
put $S/window_ms 60000
put $S/restore 1
check "a flush does not wait for the window" put $S/flush 1
check "it holds all surplus" holds $most

# Signals: between two batches a flush looks, and a restore before it begins.
put $S/restore 1
put $L/delay_ms 200
put $L/mode delay
refuse EINTR "a signal ends a flush" "$HERE/poke" $S/flush 1 300
check "what went is held" soon not zero $H/held
put $S/restore 1
# The same without anybody who waits.
put $R/start flush
check "a flush is under way" asked "flush running"
refuse EBUSY "one thing at a time" put $R/start restore
refuse EINVAL "nothing but what there is" put $R/start "flush and restore"
"$HERE/poke" $R/status >/tmp/seen &
put $R/cancel 1
check "it can be cancelled" soon asked "flush cancelled"
wait $!
check "who polls the status sees the end" grep -q cancelled /tmp/seen
check "and has done something" [ "$(cut -d ' ' -f 4 $R/status)" -gt 0 ]
before=$(stat restored_bytes)
seq=$(cut -d ' ' -f 1 $R/status)
put $R/start restore
check "a restore is asked for" soon asked "restore done"
check "it has the next number" [ "$(cut -d ' ' -f 1 $R/status)" -eq $((seq + 1)) ]
check "and says how much came back" \
	[ "$(cut -d ' ' -f 4 $R/status)" -eq $(($(stat restored_bytes) - before)) ]
put $S/flush 1 &
flush=$!
check "while there is another flush" soon flying 1
refuse EINTR "a signal ends a restore that waits" "$HERE/poke" $S/restore 1 300
put $L/mode ack
wait $flush
check "the flush ends well" holds $most

# Counters and events of a restore say the same. Enough is free: nobody else restores.
put $S/max_held 256M
soon holds_no_more 256
check "nothing moves" soon settled
restores=$(stat restores)
restored=$(stat restored_bytes)
held=$(cat $H/held_bytes)
: >$T/trace
put $T/events/aeration/enable 1
put $S/restore 1
put $S/flush 1
put $T/events/aeration/enable 0
restores=$(($(stat restores) - restores))
restored=$(($(stat restored_bytes) - restored))
check "what was held was restored" [ "$restored" -eq "$held" ]
check "it took some batches" [ "$restores" -gt 0 ]
check "an event is there for each that was asked for" \
	[ "$(grep -c 'aeration_restore_submit: backend=loop blocks=[0-9]* bytes=[0-9]*$' $T/trace)" -eq $restores ]
check "and for each that was done" \
	[ "$(grep -c 'aeration_restore_ack: backend=loop taken=[0-9]* bytes=[0-9]* ns=[0-9]* err=0$' $T/trace)" -eq $restores ]
check "they agree on the bytes" \
	[ "$(sum_of bytes aeration_restore_ack)" -eq "$restored" ]
check "and on what was asked for" \
	[ "$(sum_of bytes aeration_restore_submit)" -eq "$restored" ]
check "and on the blocks" \
	[ "$(sum_of taken aeration_restore_ack)" -eq $((restored >> 21)) ]
check "a sample has its fields" \
	grep -q 'aeration_sample: unused=[0-9]* surplus=[0-9]* reported=[0-9]* window_ms=60000$' $T/trace
: >$T/trace

# A device that takes a part of a batch, at every index, and then none of it.
put $S/max_held 16M
soon holds_no_more 16
for i in 0 1 2 3 4 5 6 7; do
	put $L/fail_at $i
	put $L/mode fail
	put $S/restore 1
	refused=$(stat refused)
	refuse EIO "a part of a batch is not a success (block $i)" put $S/flush 1
	check "what was taken is held" is $H/held $i
	check "the rest was refused" [ "$(stat refused)" -eq $((refused + 8 - i)) ]
	check "nothing is lost" adds_up
	put $L/mode ack
done
for mode in refuse error; do
	put $S/restore 1
	put $L/mode $mode
	refuse EIO "$mode: a flush says so" put $S/flush 1
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
	check "a part of a batch comes back (block $i)" soon some_are_back
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
	soon holds $most
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
	refuse EAGAIN "$mode: a restore on request fails" put $S/restore 1
	put $L/restore_mode ack
	check "$mode: it recovers" soon zero $H/held
	check "$mode: and is no longer starved" soon is $H/starved 0
	put $S/reserve_mb 16
	put $S/flush 1
done
check "the log says what to do" said "free memory on the host, or raise"
check "and that it is over" said "gives memory back again"

# A host without memory, and the source is stopped: it keeps what it has, answers to
# who needs memory, and gets all back as soon as there is some.
put $L/restore_mode none
put $P/backend none
check "what does not come back stays counted" holds $most
check "it is off" is $S/state off
check "and named" said "come back when it has them"
check "and does not count as available" \
	[ "$(meminfo MemAvailable)" -le "$(free_kib)" ]
check "the backend cannot be unloaded" not rmmod aeration_loop
refuse EAGAIN "nor all of it restored" put $S/restore 1
put $P/backend loop
check "the same backend goes on with it" is $S/state running
check "with what it has" holds $most
put $P/backend none
put $L/restore_mode ack
check "when the host has memory all comes back by itself" soon zero $H/held
check "and counts as available again" \
	not_less "$(meminfo MemAvailable)" "$available" $MARKS
check "nothing is lost" adds_up
check "the backend can be unloaded" rmmod aeration_loop
check "no memory is missing" soon free_as_before
check "and loaded" modprobe aeration_loop durable=1 capacity=64
put $P/backend loop
put $S/flush 1
put $L/restore_mode none
put $P/backend none
kills=$(oom_kills)
put $L/restore_mode ack
check "who needs it gets it from a source that was stopped" burst $mib
check "nobody was killed for it" [ "$(oom_kills)" -eq "$kills" ]
put $P/backend loop
check "no page was used meanwhile" zero $L/touched

# A silent device fails while the host has no memory; what is held comes back when it has.
# Nothing goes to a host that has none: the batch has to be on its way before. It is of
# what was kept so far; a program that needs memory could have all of it back.
put $S/reserve_mb 300
check "memory is held, and some kept" soon flushes $most
echo 5000 >/sys/module/aeration_loop/parameters/timeout_ms
put $L/mode silent
put $S/reserve_mb 16
put $S/window_ms 100
check "a silent device has a batch" soon flying 1
put $L/restore_mode none
check "and fails in the end" soon is $S/state failed
check "what the host does not give back stays held" [ "$(held_mib)" -gt 0 ]
put $L/restore_mode ack
check "what was held is back" soon zero $H/held
check "nothing is in flight" zero $H/in_flight
rmmod aeration_loop
check "unloading and loading" modprobe aeration_loop durable=1 capacity=64
soon holds $most
check "unload with memory held" rmmod aeration_loop
check "all of it is back" zero $H/held
check "nothing is quarantined" zero $H/quarantined
check "all memory is free again" soon free_as_before

# Under load, in flight.
modprobe aeration_loop durable=1
"$HERE/memwork" churn $((total * 45 / 100)) 10 >/dev/null &
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

# Everything is back when a restore returns, whatever the guest does.
start backoff_ms=0
check "there is something to restore" soon holds $most
"$HERE/memwork" churn $((total / 4)) 20 >/dev/null &
load=$!
for i in $(seq 20); do
	sleep 0.3
	put $S/restore 1 && zero $H/held || break
done
check "nothing is held when a restore returns" [ "$i" -eq 20 ]
check "and something was before" more restored_bytes $((256 << 20))
wait $load
unload

# A batch is no great part of the guest, and comes back when it is needed.
modprobe aeration backend=loop window_ms=60000
modprobe aeration_loop durable=1 capacity=512 scrub=N
put $L/delay_ms 2000
put $L/mode delay
put $S/flush 1 &
flush=$!
check "a batch is in flight" soon flying 1
check "of no more than 64 MiB" not flying 33
check "a program that needs memory gets it" burst $mib
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
check "a batch is on its way" soon flying 1
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
soon holds $most
check "all surplus is held" soon settled
put $S/window_ms 5000
sleep 6 # for the new window to be full
back=$((total / 5))
left=$(($(held_mib) - back))
put $S/reserve_mb $((total / 4))
check "a part of it comes back" soon holds_no_more $left
put $S/reserve_mb 16
# A block has 2 MiB. What the system frees by itself may go: few.
blocks=$((back / 2))
taken=$(cut -d ' ' -f 1 $H/states)
sleep 2
check "what was restored is kept for a window" not taken_more $((blocks / 4))
check "and goes after it" soon taken_more $((blocks * 3 / 4))
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

# One that loses each block that it is asked for, while the guest asks all the time.
start
soon holds 256
put $L/restore_at 0
put $L/restore_mode lose
put $S/reserve_mb 100000
check "a device that loses every block fails" soon is $S/state failed
sleep 20
check "it has lost no more than the bound" [ "$(cat $H/quarantined)" -le 20 ]
check "every block is in one state" adds_up
put $L/restore_mode ack
put $S/reserve_mb 16
# Less what is lost, and what 7.3 has on the lists of two processors: 28 MiB were seen.
check "who needs what it still has gets it" burst $((mib - 128))
check "and nobody was killed for it" [ "$(oom_kills)" -eq "$kills" ]
check "what it still has comes back" put $S/restore 1
check "all of it" zero $H/held
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
