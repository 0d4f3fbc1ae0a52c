#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Parameters: at load, at run time, good and bad.
. "$(dirname "$0")/ktap.sh"

# writable: the files of sysfs that can be written are those that are documented so
writable()
{
	files=$(find $S -type f -perm -200 | sed "s,$S/,," | sort | tr '\n' ' ')
	echo "$files"
	[ "$files" = "backoff_ms flush max_held request/cancel request/start reserve_mb restore squeeze squeeze_anon squeeze_for_host squeeze_idle_s window_ms " ]
}

# others_cannot: root owns all, nobody else writes, five cannot be read either
others_cannot()
{
	find $S ! -user 0 -o ! -group 0 -o -perm -020 -o -perm -002 |
		grep . && return 1
	files=$(find $S -type f ! -perm 644 ! -perm 444 | sort | tr '\n' ' ')
	echo "$files"
	[ "$files" = "$S/flush $S/request/cancel $S/request/start $S/restore $S/squeeze " ] &&
		[ "$(find $S -type f -perm 200 | wc -l)" -eq 5 ]
}

ktap_start
refuse EINVAL "a window that is no number is refused" modprobe aeration window_ms=soon
refuse EINVAL "a window above a minute is refused" modprobe aeration window_ms=60001
refuse EINVAL "a negative window is refused" modprobe aeration window_ms=-1
refuse EINVAL "a limit to backing off above a minute is refused" modprobe aeration backoff_ms=60001
refuse EINVAL "a reserve above 16 TiB is refused" modprobe aeration reserve_mb=16777217
refuse EINVAL "a spread above an hour is refused" modprobe aeration spread_ms=3600001
refuse EINVAL "a cap above 1 TiB a second is refused" modprobe aeration cap_mb=1048577
refuse EINVAL "an order beyond the largest is refused" modprobe aeration order=11
check "nothing was loaded by that" [ ! -e $S ]
modprobe aeration backend=vmware
check "an unknown backend does not keep the module from loading" [ -e $S ]
check "it means none" is $P/backend none
check "the log lists the known ones" said "known: auto virtio xen hyperv loop none"
check "nothing runs" is $S/state off
check "and sysfs says so" has $S/why/virtio "aeration.backend=none"
refuse EINVAL "at run time an unknown backend is refused" put $P/backend vmware
check "and changes nothing" is $P/backend none
for b in auto virtio xen hyperv loop none; do
	check "$b is known" put $P/backend $b
	check "$b is kept" is $P/backend $b
done
check "a window is taken at run time" put $S/window_ms 2500
check "and shows as the parameter" is $P/window_ms 2500
refuse EINVAL "a bad window is refused in sysfs" put $S/window_ms 60001
refuse EACCES "the parameter cannot be written" put $P/window_ms 2500
check "and changes nothing" is $S/window_ms 2500
check "a limit to backing off is taken" put $S/backoff_ms 5000
check "and shows as the parameter" is $P/backoff_ms 5000
refuse EINVAL "a bad limit is refused" put $S/backoff_ms 60001
check "and changes nothing" is $S/backoff_ms 5000
check "no window is in force while nothing runs" is $S/window_now_ms 0
check "a cap is taken at run time" put $P/cap_mb 0
check "and kept" is $P/cap_mb 0
check "a spread is taken at run time" put $P/spread_ms 0
check "and kept" is $P/spread_ms 0
refuse EINVAL "a spread that is none is refused" put $P/spread_ms -1
check "a reserve is taken" put $S/reserve_mb 64
check "and shows as the parameter" is $P/reserve_mb 64
refuse EINVAL "a bad reserve is refused" put $S/reserve_mb -5
check "and changes nothing" is $S/reserve_mb 64
refuse EINVAL "a reserve that is too large is refused" put $S/reserve_mb 16777217
check "and changes nothing" is $P/reserve_mb 64
refuse EINVAL "flush takes only a one" put $S/flush 0
refuse EACCES "the order cannot be changed at run time" put $P/order 5
check "only some files can be written" writable
check "and those by root only" others_cannot
put $P/backend auto
check "auto never takes the test device" modprobe aeration_loop
check "and says why" has $S/why/loop "only when asked for by name"
check "one backend device of a kind only" has $S/state off
put $P/backend xen
check "a backend of another hypervisor is not run" is $S/state off
check "and says why" has $S/why/xen "not a Xen domain"
unload
refuse EINVAL "virtio: an unknown wire is refused" modprobe aeration_virtio wire=tin-can
check "and the known ones are listed" said 'unknown wire "tin-can"; known: sg hints'
refuse EINVAL "virtio: a timeout of nothing is refused" modprobe aeration_virtio timeout_ms=0
modprobe aeration_virtio timeout_ms=5000
V=/sys/module/aeration_virtio/parameters
check "virtio: a timeout is taken" is $V/timeout_ms 5000
refuse EINVAL "virtio: a bad timeout is refused at run time" put $V/timeout_ms 99
check "and changes nothing" is $V/timeout_ms 5000
unload
refuse EINVAL "xen: a batch of nothing is refused" modprobe aeration_xen capacity=0
refuse EINVAL "xen: a batch above 512 is refused" modprobe aeration_xen capacity=513
refuse EINVAL "xen: extents above a superpage are refused" modprobe aeration_xen order=10
refuse EPERM "xen: what is in use cannot be given" modprobe aeration_xen extent_order=3
unload
check "everything can be unloaded" [ ! -e $S ]
ktap_end
