#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Patterns in memory stay what they are while batches fly.
#	integrity.sh [loop] [hold] [virtio]; without arguments: all that can be
. "$(dirname "$0")/ktap.sh"

# What no number of batches takes, s.
HUNG=1500

through()
{
	if [ "$1" = loop ]; then
		modprobe aeration backend=loop window_ms=0 reserve_mb=0
		modprobe aeration_loop capacity=1
		check "the test device runs" is $S/backend loop
		check "with one block in a batch" is $S/capacity 1
		"$HERE/integrity" 10000 $HUNG 1200 2048 >/tmp/integrity.out
		result=$?
		batches=10000
	elif [ "$1" = hold ]; then
		modprobe aeration backend=loop window_ms=0 reserve_mb=0
		modprobe aeration_loop durable=1 capacity=8
		check "the test device runs" is $S/backend loop
		check "with few blocks in a batch" is $S/capacity 8
		"$HERE/integrity" 1000 $HUNG 1200 2048 >/tmp/integrity.out
		result=$?
		batches=1000
		check "no page was used while it was held" \
			zero /sys/kernel/debug/aeration_loop/touched
	else
		modprobe aeration_virtio
		put $S/window_ms 0
		put $S/reserve_mb 0
		check "virtio runs" is $S/backend virtio
		"$HERE/integrity" 200 $HUNG 1024 2048 >/tmp/integrity.out
		result=$?
		batches=200
	fi
	cat /tmp/integrity.out
	report "$result" "$batches batches of $1, no word wrong"
	check "nothing in flight" soon zero $S/stats/in_flight_bytes
	check "nothing quarantined" zero $S/hold/quarantined
	unload
	check "everything can be unloaded" [ ! -e $S ]
}

ktap_start
if [ $# -eq 0 ]; then
	set -- loop hold
	has_balloon && set -- "$@" virtio
fi
for backend; do
	through "$backend"
done
ktap_end
