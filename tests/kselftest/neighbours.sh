#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A guest as people run it: programs in cgroups, each with files it reads, a disk and
# swap. What becomes of them when another program takes much of the memory?
#
#	neighbours.sh start [DISK]	mount what it takes, and make the files; without a
#					disk on one that is kept in memory, packed
#	neighbours.sh burst PERCENT [MIB]
#					have the files in use, take so much of what is
#					available at once, in a cgroup of its own, after
#					MIB were taken and freed over and over for 2 s,
#					and say what that cost
# The costs are printed as "NAME VALUE" lines: pages, and ms.
HERE=$(dirname "$0")
C=/sys/fs/cgroup
FILES=20
MIB=10
M=/tmp/neighbours

in_cgroup()
{
	mkdir -p "$C/$1"
	sh -c 'echo $$ >"$0/cgroup.procs"; shift; exec "$@"' "$C/$1" "$@"
}

read_files()
{
	for i in $(seq $FILES); do
		in_cgroup "n$i" cat "$M/file$i" >/dev/null
	done
}

vmstat()
{
	awk '/^(pswpout|pgsteal_kswapd|pgsteal_direct|workingset_refault_file|workingset_refault_anon|oom_kill|allocstall_normal|thp_fault_fallback|compact_stall|pgscan_kswapd|pgscan_direct) / { print }' /proc/vmstat
}

start()
{
	mkdir -p $M
	[ -e $C/cgroup.procs ] || mount -t cgroup2 none $C
	echo +memory >$C/cgroup.subtree_control
	modprobe zram num_devices=2 && echo 256M >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
	modprobe -a virtio_pci virtio_blk ext4
	disk=$1
	if [ -z "$disk" ]; then
		disk=/dev/zram1
		echo 400M >/sys/block/zram1/disksize
		mke2fs -b 4096 $disk >/dev/null
	fi
	for _ in $(seq 100); do
		[ ! -b "$disk" ] || break
		sleep 0.1
	done
	mount -t ext4 "$disk" $M || exit 1
	for i in $(seq $FILES); do
		[ -e $M/file$i ] || dd if=/dev/zero of=$M/file$i bs=1M count=$MIB 2>/dev/null
	done
	sync
}

# What is in use is what was read twice, and nothing is swapped: as at the beginning.
settle()
{
	swapoff /dev/zram0 && swapon /dev/zram0
	echo 3 >/proc/sys/vm/drop_caches
	read_files
	read_files
}

burst()
{
	settle
	sleep 3 # for what is surplus by now to go
	mib=$(awk -v percent="$1" '$1 == "MemAvailable:" { print int($2 / 1024 * percent / 100) }' /proc/meminfo)
	vmstat >/tmp/before
	[ -z "$2" ] || in_cgroup burst "$HERE/memwork" churn "$2" 2 >/dev/null
	said=$(in_cgroup burst "$HERE/memwork" burst "$mib")
	vmstat >/tmp/after
	read_files
	vmstat >/tmp/again
	echo "burst_mib $mib"
	echo "$said"
	paste -d ' ' /tmp/before /tmp/after /tmp/again |
		awk '{ print $1, $4 - $2; print "again_" $1, $6 - $4 }'
}

case $1 in
start) start "$2" ;;
burst) burst "$2" "$3" ;;
*) sed -n '4,15s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
