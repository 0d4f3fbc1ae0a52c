#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The virtio backend on a device that reports: run, unload in flight and under
# load, beside the stock driver, nothing lost.
. "$(dirname "$0")/ktap.sh"
STOCK=/sys/bus/virtio/drivers/virtio_balloon
OURS=/sys/bus/virtio/drivers/aeration_virtio

ktap_start virtio
foreign
measure_free foreign
total=$(total_kib)

check "the backend loads" modprobe aeration_virtio
check "it is chosen by itself" is $S/backend virtio
check "and runs" is $S/state running
check "with batches of 32" is $S/capacity 32
check "the choice is one line in the log" said "backend virtio, asked for auto"
check "surplus leaves" soon more bytes 0
check "flush reports the rest" put $S/flush 1
check "a flush leaves nothing in flight" soon zero $S/stats/in_flight_bytes
"$HERE/memwork" churn 256 6 >/dev/null &
load=$!
for i in 1 2 3 4 5 6; do
	put $S/window_ms 0
	rmmod aeration_virtio || break
	modprobe aeration_virtio || break
done
check "it unloads and loads under load" [ "$i" -eq 6 ]
wait $load
work
unload
check "everything can be unloaded" [ ! -e $S ]
check "free memory is what it was" soon free_as_before
check "MemTotal is what it was" [ "$(total_kib)" -eq "$total" ]

# What is to stay free does, to half of a batch of 32 blocks of 4 MiB.
# What was reported before is not again, until it was used.
free=$(($(free_kib) / 1024))
"$HERE/memwork" burst $((free * 9 / 10)) >/dev/null
modprobe aeration window_ms=60000 reserve_mb=$((free / 2))
modprobe aeration_virtio
check "a reserve is given at load" put $S/flush 1
went=$(($(stat bytes) >> 20))
echo "# of $free MiB $went went"
check "it stays free" [ $went -le $((free - free / 2 + 64)) ]
check "and the rest goes" [ $went -ge $((free * 8 / 10 - free / 2)) ]
put $S/reserve_mb 0
check "without one" put $S/flush 1
went=$(($(stat bytes) >> 20))
check "all goes" [ $went -ge $((free * 8 / 10)) ]
unload

"$HERE/memwork" burst 256 >/dev/null
modprobe aeration order=10 window_ms=60000
modprobe aeration_virtio
check "only the largest blocks, if asked for" is $S/order 10
put $S/flush 1
check "have all 4 MiB" [ "$(stat bytes)" -eq $(($(stat blocks) << 22)) ]
check "and there are some" more blocks 0
unload
# What is left when all that is larger has gone is small.
modprobe aeration window_ms=60000 reserve_mb=0
modprobe aeration_virtio
put $S/flush 1
unload
modprobe aeration order=5 window_ms=60000 reserve_mb=0
modprobe aeration_virtio
check "small blocks, if asked for" is $S/order 5
put $S/flush 1
check "go as well" [ "$(stat bytes)" -lt $(($(stat blocks) << 21)) ]
unload

modprobe virtio_balloon
check "with the stock driver on the device ours loads" modprobe aeration_virtio
check "it says whose the device is" said "balloon device belongs to virtio_balloon"
check "sysfs says so" has $S/why/virtio "belongs to another driver"
modprobe aeration_loop
put $P/backend loop
check "page reporting with another owner: waiting" is $S/state waiting
check "the log says who is likely and what to do" said "most likely virtio_balloon"
rmmod virtio_balloon
check "taken over when it lets go" soon is $S/state running
for dev in /sys/bus/virtio/devices/*; do
	read -r id <"$dev/device"
	[ "$id" != 0x0005 ] || break
done
dev=$(basename "$dev")
check "the device is left to who let go of it" [ ! -e "$OURS/$dev" ]
check "and can be had by hand" put $OURS/bind "$dev"
put $P/backend auto
check "then it is used" soon is $S/backend virtio
check "and reported to" soon is $S/state running
check "a device let go by hand" put $OURS/unbind "$dev"
sleep 1
check "is left alone" [ ! -e "$OURS/$dev" ]
check "the stock driver can have it" modprobe virtio_balloon
check "and has it" soon [ -e "$STOCK/$dev" ]
rmmod virtio_balloon; unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
