#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says on the kernel's console which domains have crashed or are gone, when
# xenstored tells that one came or ended.  The lab waits for these lines.
known=
xenstore-watch @introduceDomain @releaseDomain | while read -r _; do
	now=
	# Name, id, memory, processors, state, time.
	while read -r _ id _ _ state _; do
		case $state in
		*d*) continue ;; # destroyed, its memory is being freed
		esac
		now="$now $id"
		case $state in
		*c*) echo "lab: domain $id crashed" > /dev/kmsg ;;
		esac
	done <<-END
		$(xl list | tail -n +2)
	END
	for id in $known; do
		case " $now " in
		*" $id "*) ;;
		*) echo "lab: domain $id is gone" > /dev/kmsg ;;
		esac
	done
	known=$now
done
