#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Parameters: at load, at run time, good and bad.
. "$(dirname "$0")/ktap.sh"

ktap_start
refuse "a window that is no number is refused" modprobe aeration window_ms=soon
refuse "a window above a minute is refused" modprobe aeration window_ms=60001
refuse "a negative window is refused" modprobe aeration window_ms=-1
refuse "a limit to backing off above a minute is refused" modprobe aeration backoff_ms=60001
refuse "a reserve above 16 TiB is refused" modprobe aeration reserve_mb=16777217
refuse "an order beyond the largest is refused" modprobe aeration order=11
check "nothing was loaded by that" [ ! -e $S ]
modprobe aeration backend=vmware
check "an unknown backend does not keep the module from loading" [ -e $S ]
check "it means none" is $P/backend none
check "the log lists the known ones" said "known: auto virtio xen hyperv loop none"
check "nothing runs" is $S/state off
check "and sysfs says so" has $S/why/virtio "aeration.backend=none"
refuse "at run time an unknown backend is refused" put $P/backend vmware
check "and changes nothing" is $P/backend none
for b in auto virtio xen hyperv loop none; do
	check "$b is known" put $P/backend $b
	check "$b is kept" is $P/backend $b
done
check "a window is taken at run time" put $S/window_ms 2500
check "and shows as the parameter" is $P/window_ms 2500
refuse "a bad window is refused in sysfs" put $S/window_ms 60001
refuse "and as the parameter" put $P/window_ms x
check "and changes nothing" is $S/window_ms 2500
check "a limit to backing off is taken" put $S/backoff_ms 5000
check "and shows as the parameter" is $P/backoff_ms 5000
refuse "a bad limit is refused" put $S/backoff_ms 60001
check "and changes nothing" is $S/backoff_ms 5000
check "no window is in force while nothing runs" is $S/window_now_ms 0
check "a reserve is taken" put $S/reserve_mb 64
check "and shows as the parameter" is $P/reserve_mb 64
refuse "a bad reserve is refused" put $S/reserve_mb -5
check "and changes nothing" is $S/reserve_mb 64
refuse "a reserve that is too large is refused" put $P/reserve_mb 16777217
check "and changes nothing" is $P/reserve_mb 64
refuse "flush takes only a one" put $S/flush 0
refuse "the order cannot be changed at run time" put $P/order 5
put $P/backend auto
check "auto never takes the test device" modprobe aeration_loop
check "and says why" has $S/why/loop "only when asked for by name"
check "one backend device of a kind only" has $S/state off
put $P/backend xen
check "a backend of another hypervisor is not run" is $S/state off
check "and says why" has $S/why/xen "not a Xen domain"
unload
refuse "virtio: an unknown wire is refused" modprobe aeration_virtio wire=tin-can
check "and the known ones are listed" said 'unknown wire "tin-can"; known: sg hints'
refuse "virtio: a timeout of nothing is refused" modprobe aeration_virtio timeout_ms=0
modprobe aeration_virtio timeout_ms=5000
V=/sys/module/aeration_virtio/parameters
check "virtio: a timeout is taken" is $V/timeout_ms 5000
refuse "virtio: a bad timeout is refused at run time" put $V/timeout_ms 99
check "and changes nothing" is $V/timeout_ms 5000
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
