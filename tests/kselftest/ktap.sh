# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KTAP for the guest's shell, and what every script here needs. Sourced.

S=/sys/kernel/aeration
# shellcheck disable=SC2034	# used by those who source this
P=/sys/module/aeration/parameters
KTAP_NR=0
KTAP_BAD=0

# ktap_start [virtio|xen]: begin, if this machine can: if it has a virtio balloon
# or is a Xen domain
ktap_start()
{
	echo "KTAP version 1"
	[ "$(id -u)" -eq 0 ] || skip "it takes root"
	if [ -e /sys/module/aeration ] && ! grep -q '^aeration ' /proc/modules; then
		skip "aeration is built into this kernel"
	fi
	modprobe -n aeration 2>/dev/null || skip "there is no module aeration"
	if [ "$1" = virtio ]; then
		has_balloon || skip "there is no virtio balloon"
	fi
	if [ "$1" = xen ]; then
		modprobe -n aeration_xen_faults 2>/dev/null ||
			skip "there is no module aeration_xen_faults"
		[ -e /sys/hypervisor/guest_type ] || skip "this is not a Xen domain"
	fi
}

# skip REASON: this cannot be tested here
skip()
{
	echo "1..0 # SKIP $1"
	exit 4
}

has_balloon()
{
	grep -q 0x0005 /sys/bus/virtio/devices/*/device 2>/dev/null
}

# ok CONDITION-STATUS NAME: one line a case
report()
{
	KTAP_NR=$((KTAP_NR + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $KTAP_NR $2"
	else
		echo "not ok $KTAP_NR $2"
		KTAP_BAD=$((KTAP_BAD + 1))
	fi
}

# check NAME COMMAND...: the command must succeed
check()
{
	name=$1
	shift
	"$@" >/tmp/ktap.out 2>&1
	status=$?
	[ "$status" -eq 0 ] || sed 's/^/# /' /tmp/ktap.out
	report "$status" "$name"
}

# refuse NAME COMMAND...: the command must fail
refuse()
{
	name=$1
	shift
	if "$@" >/tmp/ktap.out 2>&1; then
		report 1 "$name"
	else
		report 0 "$name"
	fi
}

ktap_end()
{
	echo "1..$KTAP_NR"
	[ "$KTAP_BAD" -eq 0 ]
	exit
}

# put FILE VALUE: like a shell redirection, but as a command
put()
{
	echo "$2" >"$1"
}

# is FILE VALUE: does the file hold the value?
is()
{
	[ "$(cat "$1")" = "$2" ] && return
	echo "$1 is \"$(cat "$1")\", should be \"$2\""
	return 1
}

# has FILE TEXT
has()
{
	grep -q -- "$2" "$1" && return
	echo "$1 does not say \"$2\" but: $(cat "$1")"
	return 1
}

# said TEXT: has the kernel log said this?
said()
{
	dmesg | grep -q -- "$1" && return
	echo "the kernel log does not say \"$1\""
	return 1
}

stat()
{
	cat "$S/stats/$1"
}

# What should happen at once may take a host with other work so long, s. The core
# leaves a device that refuses alone for up to 16 s.
SOON=120

# soon COMMAND...: does the command succeed soon?
soon()
{
	ktap_until=$(($(date +%s) + SOON))
	while [ "$(date +%s)" -lt "$ktap_until" ]; do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	"$@"
}

# more NAME COUNT: is a counter larger?
more()
{
	[ "$(stat "$1")" -gt "$2" ] && return
	echo "stats/$1 is $(stat "$1"), should be more than $2"
	return 1
}

# grows NAME: does a counter grow soon?
grows()
{
	soon more "$1" "$(stat "$1")"
}

# zero FILE: is a gauge back to nothing?
zero()
{
	is "$1" 0
}

# free_kib: free memory, with everything dropped that can be. What lies on the
# lists of single CPUs, up to ten huge pages each, is free and not in MemFree.
free_kib()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/compact_memory
	sleep 1
	awk '/^MemFree:/ { kib += $2 } $1 == "count:" { kib += 4 * $2 }
		END { print kib }' /proc/meminfo /proc/zoneinfo
}

total_kib()
{
	awk '/^MemTotal:/ { print $2 }' /proc/meminfo
}

# work: some memory taken and given back
work()
{
	"$HERE/memwork" churn 256 2 >/dev/null
}

# not_less MEASURED BEFORE NOISE: all in KiB
not_less()
{
	[ "$1" -ge $(($2 - $3)) ] && return
	echo "$1 KiB is less than $2 KiB by more than the noise of $3 KiB"
	return 1
}

# unload: every module of ours
unload()
{
	for m in aeration_virtio aeration_xen aeration_hyperv aeration_loop \
		aeration; do
		[ ! -e /sys/module/$m ] || rmmod $m
	done
}

HERE=$(dirname "$0")
