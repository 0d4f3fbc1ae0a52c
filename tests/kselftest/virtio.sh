#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The virtio backend on a device that reports: run, unload in flight and under
# load, beside the stock driver, nothing lost.
# shellcheck disable=SC2317	# the helpers are called through check
. "$(dirname "$0")/ktap.sh"
STOCK=/sys/bus/virtio/drivers/virtio_balloon

ktap_start virtio
# How far two readings differ when a module that is not ours comes and goes. A
# lost block of the smallest order would be 2048 KiB, twice what is added.
foreign_round()
{
	modprobe zram
	work
	rmmod zram
	free_kib
}
foreign_round >/dev/null
before=$(foreign_round)
again=$(foreign_round)
noise=$((before > again ? before - again : again - before))
echo "# free $before KiB, again $again KiB"
noise=$((noise + 1024))
total=$(total_kib)

check "the backend loads" modprobe aeration_virtio
check "it is chosen by itself" is $S/backend virtio
check "and runs" is $S/state running
check "with batches of 32" is $S/capacity 32
check "the choice is one line in the log" said "backend virtio, asked for auto"
check "surplus leaves" soon more bytes 0
check "flush reports the rest" put $S/flush 1
check "a flush leaves nothing in flight" soon zero $S/stats/in_flight_bytes
"$HERE/memwork" churn 512 6 >/dev/null &
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
# The kernel's own compaction takes free blocks for a moment.
as_before()
{
	not_less "$(free_kib)" "$before" "$noise"
}
check "free memory is what it was" soon as_before
check "MemTotal is what it was" [ "$(total_kib)" -eq "$total" ]

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
put $P/backend auto
check "the device is taken as well" soon is $S/backend virtio
check "and reported to" soon is $S/state running
dev=$(basename "$(ls -d /sys/bus/virtio/drivers/aeration_virtio/virtio*)")
check "a device let go by hand" put /sys/bus/virtio/drivers/aeration_virtio/unbind "$dev"
sleep 1
check "is left alone" [ ! -e "/sys/bus/virtio/drivers/aeration_virtio/$dev" ]
check "the stock driver can have it" modprobe virtio_balloon
check "and has it" soon [ -e "$STOCK/$dev" ]
rmmod virtio_balloon; unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
