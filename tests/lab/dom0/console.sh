#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Joins the console of the domain $1 to the virtio port $2 of this machine until
# the domain ends.
set -eu

port=$2
tty=
tries=100
while [ -z "$tty" ]; do
	tty=$(xenstore-read "/local/domain/$1/console/tty" 2>/dev/null) || tty=
	[ -n "$tty" ] && break
	tries=$((tries - 1))
	if [ "$tries" -eq 0 ]; then
		echo "domain $1 has no console: xenconsoled made none" >&2
		exit 1
	fi
	usleep 50000
done
stty -F "$tty" raw -echo
# A port can be open once only, so both ways are through one descriptor.
(
	cat <&3 > "$tty" &
	cat "$tty" >&3 || true
	kill $!
) 3<>"$port" </dev/null >/dev/null 2>&1 &
