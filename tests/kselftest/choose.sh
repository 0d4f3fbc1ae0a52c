#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Choosing a backend on a guest with a virtio balloon: by itself, by name, by the
# wrong name, none, in either order, while batches fly.
. "$(dirname "$0")/ktap.sh"

# last TEXT: does the newest line of the log about the choice say this?
last()
{
	line=$(dmesg | grep "aeration: backend" | tail -n 1)
	echo "$line" | grep -q -- "$1" && return
	echo "the newest choice in the log does not say \"$1\" but: $line"
	return 1
}

ktap_start virtio
check "the core loads without a backend" modprobe aeration
check "and says at once that it has none" last "backend none, asked for auto"
check "and why" last "xen: this is not a Xen domain"
check "it asks for no backend of another host" sh -c "sleep 1; ! ls -d /sys/module/aeration_*"
check "the backend may come later" modprobe aeration_virtio
check "and is chosen" is $S/backend virtio
check "the log says so" last "backend virtio, asked for auto"
for b in xen hyperv; do
	put $P/backend $b
	check "$b on the wrong host: nothing runs" is $S/state off
	check "the log says what was asked for" last "backend none, asked for $b"
	check "and why it is refused" last "$b: this "
	check "so does sysfs" has $S/why/$b "this "
	check "and why it is not virtio" has $S/why/virtio "another backend was asked for"
done
put $P/backend virtio
check "the right name brings it back" is $S/state running
check "the log says so" last "backend virtio, asked for virtio"
put $P/backend none
check "none stops it" is $S/state off
check "nothing is in flight" zero $S/stats/in_flight_bytes
check "the log says so" last "backend none, asked for none"
put $P/backend auto
unload

# Changed all the time, while memory is used and freed.
modprobe aeration_virtio
modprobe aeration_loop
put $S/window_ms 0
"$HERE/memwork" churn 256 8 >/dev/null &
load=$!
for round in 1 2 3 4 5 6; do
	for b in loop virtio none xen auto; do
		put $P/backend $b || break
	done
done
check "changed in flight, over and over" [ "$round" -eq 6 ]
(while kill -0 $load 2>/dev/null; do put $P/backend loop; done) &
one=$!
(while kill -0 $load 2>/dev/null; do put $P/backend virtio; done) &
wait $load $one $!
put $P/backend auto
check "by two at once" soon is $S/state running
check "a backend can be unloaded while chosen" rmmod aeration_virtio
check "and nothing is left of it" is $S/state off
check "nothing is in flight" zero $S/stats/in_flight_bytes
check "and why is in sysfs" has $S/why/virtio "no device"
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
