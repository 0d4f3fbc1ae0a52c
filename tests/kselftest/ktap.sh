# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KTAP for the guest's shell, and what every script here needs. Sourced.

S=/sys/kernel/aeration
# shellcheck disable=SC2034	# used by those who source this
P=/sys/module/aeration/parameters
KTAP_NR=0
KTAP_BAD=0
KTAP_MARK=
KTAP_MARKS=0
ktap_writer=

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

# What shells and modprobe say of an error.
error_text()
{
	case $1 in
	EPERM) ktap_error="Operation not permitted" ;;
	EINTR) ktap_error="Interrupted system call" ;;
	EIO) ktap_error="Input/output error" ;;
	EAGAIN) ktap_error="Resource temporarily unavailable" ;;
	ENOMEM) ktap_error="Cannot allocate memory" ;;
	EACCES) ktap_error="Permission denied" ;;
	EBUSY) ktap_error="Device or resource busy" ;;
	ENODEV) ktap_error="No such device" ;;
	EINVAL) ktap_error="Invalid argument" ;;
	EOPNOTSUPP) ktap_error="Operation not supported" ;;
	*) echo "no text is known for $1" && return 1 ;;
	esac
}

# fails ERROR COMMAND...: does the command fail with that error, and no other?
fails()
{
	error_text "$1" || return
	ktap_wanted=$1
	shift
	ktap_writer=$HERE/poke
	if ktap_said=$("$@" 2>&1); then
		ktap_said="it succeeded"
	fi
	ktap_writer=
	case $ktap_said in
	*": $ktap_error") return ;;
	esac
	echo "it should fail with $ktap_wanted, \"$ktap_error\", but: $ktap_said"
	return 1
}

# refuse ERROR NAME COMMAND...: the command must fail with that error
refuse()
{
	error=$1
	name=$2
	shift 2
	check "$name" fails "$error" "$@"
}

# not COMMAND...
not()
{
	! "$@"
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
	# A shell's own echo knows only one error, whatever the file says.
	if [ -n "$ktap_writer" ]; then
		"$ktap_writer" "$1" "$2"
	else
		echo "$2" >"$1"
	fi
}

# first_line FILE: into $ktap_line. The shell reads by itself: here a process takes
# longer than all that is looked at.
first_line()
{
	ktap_line=
	IFS= read -r ktap_line <"$1"
}

# is FILE VALUE: does the file hold the value?
is()
{
	first_line "$1"
	[ "$ktap_line" = "$2" ] && return
	echo "$1 is \"$ktap_line\", should be \"$2\""
	return 1
}

# has FILE TEXT
has()
{
	first_line "$1"
	case $ktap_line in
	*"$2"*) return ;;
	esac
	grep -qF -- "$2" "$1" && return
	echo "$1 does not say \"$2\" but: $(cat "$1")"
	return 1
}

# mark: what the kernel log says from here on is new
mark()
{
	KTAP_MARK="ktap mark $$.$((KTAP_MARKS += 1))."
	echo "$KTAP_MARK" >/dev/kmsg
}

# said TEXT: has the kernel log said this since the last mark?
said()
{
	dmesg | awk -v mark="$KTAP_MARK" -v text="$1" '
		index($0, text) { found = 1 }
		mark != "" && index($0, mark) { found = 0 }
		END { exit !found }' && return
	echo "the kernel log does not say \"$1\" after \"$KTAP_MARK\""
	return 1
}

# stat_of NAME: a counter of the core, into $ktap_line
stat_of()
{
	first_line "$S/stats/$1"
}

stat()
{
	stat_of "$1"
	echo "$ktap_line"
}

# What should happen at once may take a host with other work so long, s. The core
# leaves a device that refuses alone for up to 16 s.
SOON=120

# now_s: whole seconds since the boot, into $ktap_line
now_s()
{
	first_line /proc/uptime
	ktap_line=${ktap_line%%.*}
}

# soon COMMAND...: does the command succeed soon?
soon()
{
	now_s
	ktap_until=$((ktap_line + SOON))
	while [ "$ktap_line" -lt "$ktap_until" ]; do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
		now_s
	done
	"$@"
}

# more NAME COUNT: is a counter larger?
more()
{
	stat_of "$1"
	[ "$ktap_line" -gt "$2" ] && return
	echo "stats/$1 is $ktap_line, should be more than $2"
	return 1
}

# grows NAME: does a counter grow soon?
grows()
{
	stat_of "$1"
	soon more "$1" "$ktap_line"
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
	"$HERE/memwork" churn 256 1 >/dev/null
}

# A block of the smallest order is twice as much, KiB.
HALF_A_BLOCK=1024

# foreign: what a module that is not ours leaves behind
foreign()
{
	modprobe zram
	work
	rmmod zram
}

# measure_free COMMAND...: how much is free after the command, and how far readings
# differ when it runs again; less than a block, or the measure is none
measure_free()
{
	for _ in 1 2 3; do
		"$@"
		KTAP_FREE=$(free_kib)
		"$@"
		ktap_again=$(free_kib)
		KTAP_NOISE=$((KTAP_FREE > ktap_again ? KTAP_FREE - ktap_again :
			ktap_again - KTAP_FREE))
		echo "# free $KTAP_FREE KiB, again $ktap_again KiB"
		[ $KTAP_NOISE -lt $HALF_A_BLOCK ] && return
	done
	check "readings of free memory differ by less than a block" false
}

# free_as_before: is as much free as when it was measured, to less than a block? The
# kernel's own compaction takes free blocks for a moment.
free_as_before()
{
	not_less "$(free_kib)" "$KTAP_FREE" $((KTAP_NOISE + HALF_A_BLOCK))
}

# not_less MEASURED BEFORE NOISE: all in KiB
not_less()
{
	[ "$1" -ge $(($2 - $3)) ] && return
	echo "$1 KiB is less than $2 KiB by more than the noise of $3 KiB"
	return 1
}

# unload: every module of ours; what they say as they go is new
unload()
{
	mark
	for m in aeration_virtio aeration_xen aeration_hyperv aeration_loop \
		aeration; do
		[ ! -e /sys/module/$m ] || rmmod $m
	done
}

HERE=$(dirname "$0")
