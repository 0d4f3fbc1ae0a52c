#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Loaded, used and unloaded over and over: not one block of memory is lost.
#	rounds.sh [virtio] [loop] [hold] [xen]; without arguments: the first three, if there
#	is a balloon
. "$(dirname "$0")/ktap.sh"

# A block is 2 MiB: so many rounds lose twenty times what one loses.
ROUNDS=20

# round WHICH: load, let go of memory, have it back, unload. What was reported before
# is not again, until it was used.
round()
{
	"$HERE/memwork" burst 64 >/dev/null
	case $1 in
	virtio)
		modprobe aeration window_ms=60000 && modprobe aeration_virtio
		;;
	loop)
		modprobe aeration backend=loop window_ms=60000 &&
			modprobe aeration_loop
		;;
	hold)
		modprobe aeration backend=loop window_ms=60000 max_held=64M &&
			modprobe aeration_loop durable=1 capacity=8
		;;
	xen)
		modprobe aeration window_ms=60000 max_held=64M &&
			modprobe aeration_xen capacity=8
		;;
	esac && put $S/flush 1 && more bytes 0 || return
	unload
}

rounds()
{
	for i in $(seq $ROUNDS); do
		round "$1" && continue
		echo "it failed in round $i"
		return 1
	done
}

ktap_start
if [ $# -eq 0 ]; then
	set -- loop hold
	has_balloon && set -- "$@" virtio
fi
for which; do
	round "$which"
	measure_free round "$which"
	check "$which: it goes $ROUNDS rounds" rounds "$which"
	check "$which: free memory is what it was" soon free_as_before
done
check "nothing is left" [ ! -e $S ]
ktap_end
