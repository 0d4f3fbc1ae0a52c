#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The Xen backend in a domain of Xen: a hypervisor that stops at every index of a
# batch, within an extent too, and one that does not answer.
#	xen.sh [pvh|pv]; without an argument: what this domain is
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
H=/sys/kernel/aeration/hold
BLOCKS=4
ENOSYS=-38

# fault PARAMETER...: the next calls stop as the parameters have it
fault()
{
	modprobe aeration_xen_faults "$@"
}

# hit CALLS: so many calls did stop
hit()
{
	rmmod aeration_xen_faults
	dmesg | tail -n 5 | grep -q "stopped $1 of " && return
	dmesg | tail -n 5
	return 1
}

adds_up()
{
	awk '{ exit $1 != $2 + $3 + $4 + $5 + $6 + $7 }' "$H/states" && return
	cat "$H/states"
	return 1
}

# A batch of a few blocks, on request only.
ktap_start xen
if [ $# -eq 0 ]; then
	grep -q '^PV$' /sys/hypervisor/guest_type && set -- pv || set -- pvh
fi
modprobe aeration reserve_mb=16 window_ms=60000 max_held=$((2 * BLOCKS))M
modprobe aeration_xen
check "the backend runs" is $S/backend xen
put $S/restore 1
foreign
measure_free foreign
# A hypercall is for 4 MiB at most, so the fault is one in a call that comes later.
if [ "$1" = pv ]; then
	places="0 1 511 512 1000 2047"
	halves=0
	call=1024
else
	places="0 1 2 3"
	halves="0 1"
	call=2
fi

for i in $places; do
	for half in $halves; do
		at="extent $i$([ "$half" -eq 0 ] || echo " and a half")"
		# On a busy host a window may have passed, and something is held.
		put $S/restore 1
		fault op=decrease skip=$((i / call)) stop_at=$((i % call)) half="$half"
		put $S/flush 1 2>/dev/null
		check "decrease stops at $at" hit 1
		check "nothing is quarantined" zero "$H/quarantined"
		check "every block is in one state" adds_up
		check "and all comes back" put $S/restore 1
		check "nothing is held then" zero "$H/held"

		put $S/flush 1
		fault op=populate skip=$((i / call)) stop_at=$((i % call)) half="$half"
		check "populate stops at $at, all comes back" put $S/restore 1
		check "it did stop" hit 1
		check "nothing is held then" zero "$H/held"
		check "nothing is quarantined" zero "$H/quarantined"
		check "every block is in one state" adds_up
	done
	check "no memory is lost" soon free_as_before
done

# A host that gives nothing for a while, large or small.
put $S/flush 1
fault op=populate stop_at=0 times=1000
refuse EAGAIN "a host without memory is noticed" put $S/restore 1
check "what did not come stays held" is "$H/held" $BLOCKS
check "every block is in one state" adds_up
rmmod aeration_xen_faults
check "all comes back when there is memory" put $S/restore 1
check "nothing is held then" zero "$H/held"

if [ "$1" = pvh ]; then
	# No large pieces: only single pages come.
	put $S/flush 1
	fault op=populate stop_at=0 order=9 times=1000
	check "a host without large pieces gives small ones" put $S/restore 1
	check "nothing is held then" zero "$H/held"
	rmmod aeration_xen_faults
	check "no memory is lost" soon free_as_before

	# Half a block, and Xen does not say which half.
	for op in decrease populate; do
		lost=$(cat "$H/quarantined")
		put $S/restore 1
		[ $op = decrease ] || put $S/flush 1
		fault op=$op stop_at=1 half=1 blind=1
		if [ $op = decrease ]; then
			put $S/flush 1 2>/dev/null
		else
			put $S/restore 1
		fi
		check "$op: it stopped" hit 1
		check "$op: a block of which nothing is known is quarantined" \
			is "$H/quarantined" $((lost + 1))
		check "$op: every block is in one state" adds_up
	done
	check "the log names them" said "is quarantined"
	put $S/restore 1
	check "the others are back" zero "$H/held"
fi

# A Xen that has no such call.
fault op=decrease error=$ENOSYS
put $S/flush 1 2>/dev/null
check "without the hypercall the backend fails" soon is $S/state failed
check "and says so" has $S/why/xen "refuses to take memory"
rmmod aeration_xen_faults
check "it unloads" rmmod aeration_xen
check "and loads again" modprobe aeration_xen capacity=2
check "and runs" is $S/state running
check "with as many blocks in a batch as asked for" is $S/capacity 2
refuse EACCES "the extents in use cannot be written" \
	put /sys/module/aeration_xen/parameters/extent_order 3
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
