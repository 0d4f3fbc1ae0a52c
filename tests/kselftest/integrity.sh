#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Patterns in memory stay what they are while batches fly.
#	integrity.sh loop|virtio
. "$(dirname "$0")/ktap.sh"

ktap_start
if [ "$1" = loop ]; then
	modprobe aeration backend=loop window_ms=0 reserve_mb=0
	modprobe aeration_loop capacity=1
	check "the test device runs" is $S/backend loop
	check "with one block in a batch" is $S/capacity 1
	"$HERE/integrity" 10000 300 1200 2048 >/tmp/integrity.out
	result=$?
	batches=10000
else
	modprobe aeration_virtio
	put $S/window_ms 0
	put $S/reserve_mb 0
	check "virtio runs" is $S/backend virtio
	"$HERE/integrity" 200 240 1024 2048 >/tmp/integrity.out
	result=$?
	batches=200
fi
cat /tmp/integrity.out
report "$result" "$batches batches of $1, no word wrong"
check "nothing in flight" soon zero $S/stats/in_flight_bytes
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
