#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Patterns in memory stay what they are while batches fly.
#	integrity.sh [loop] [hold] [virtio] [every]; without a name: all that can be
# Some words of each page are looked at, or every one.
. "$(dirname "$0")/ktap.sh"

# What no number of batches takes, s.
HUNG=1500

# looks BATCHES MIB: look at memory, into $result
looks()
{
	batches=$1
	# shellcheck disable=SC2086	# nothing or a word
	"$HERE/integrity" "$batches" $HUNG "$2" 2048 $every >/tmp/integrity.out
	result=$?
}

through()
{
	if [ "$1" = loop ]; then
		modprobe aeration backend=loop window_ms=0 reserve_mb=0
		modprobe aeration_loop capacity=1
		check "the test device runs" is $S/backend loop
		check "with one block in a batch" is $S/capacity 1
		looks 10000 1200
	elif [ "$1" = hold ]; then
		modprobe aeration backend=loop window_ms=0 reserve_mb=0
		modprobe aeration_loop durable=1 capacity=8
		check "the test device runs" is $S/backend loop
		check "with few blocks in a batch" is $S/capacity 8
		looks 1000 1200
		check "no page was used while it was held" \
			zero /sys/kernel/debug/aeration_loop/touched
	else
		modprobe aeration_virtio
		put $S/window_ms 0
		put $S/reserve_mb 0
		check "virtio runs" is $S/backend virtio
		looks 200 1024
	fi
	cat /tmp/integrity.out
	report "$result" "$batches batches of $1, no word wrong"
	check "nothing in flight" soon zero $S/stats/in_flight_bytes
	check "nothing quarantined" zero $S/hold/quarantined
	unload
	check "everything can be unloaded" [ ! -e $S ]
}

ktap_start
every=
which=
for word; do
	case $word in
	every) every=every ;;
	*) which="$which $word" ;;
	esac
done
if [ -z "$which" ]; then
	which="loop hold"
	has_balloon && which="$which virtio"
fi
for backend in $which; do
	through "$backend"
done
ktap_end
