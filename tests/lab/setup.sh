#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Installs the Debian packages that the tests need on this machine and says
# what it does.  Does nothing when they are there.
set -eu

# What each is for: mmdebstrap and the keyring make build roots, uidmap lets a
# user make them, zstd unpacks modules, xdist runs tests beside each other,
# gnuplot draws, spin searches models, clang and its run-time library build fuzzers, llvm
# counts the lines they reach, systemd, apparmor, mandoc, strace and libvirt check what
# hintd comes with, genisoimage makes disks for cloud-init, the rest runs tests. None of
# them is started.
PACKAGES="make gcc clang libclang-rt-dev llvm libc6-dev git perl tar python3
	python3-pytest python3-pytest-xdist mmdebstrap debian-archive-keyring
	uidmap zstd sparse shellcheck gnuplot-nox spin systemd apparmor mandoc
	strace libvirt-clients libvirt0 libxml2-utils genisoimage"

RETRIES=3
RETRY_PAUSE=10	# seconds

say()
{
	printf 'setup: %s\n' "$*"
}

fail()
{
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

retry()
{
	try=1
	until "$@"; do
		[ "$try" -lt "$RETRIES" ] || return 1
		say "try $try of $RETRIES failed, again in $RETRY_PAUSE s: $*"
		try=$((try + 1))
		sleep "$RETRY_PAUSE"
	done
}

installed()
{
	status=$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) || return 1
	[ "$status" = "install ok installed" ]
}

command -v apt-get >/dev/null ||
	fail "this machine has no apt-get. The tests run on Debian or a" \
		"derivative of it; elsewhere, install by hand what these" \
		"packages hold: $(echo "$PACKAGES" | tr -s '\n\t' ' ')"

missing=
for package in $PACKAGES; do
	installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
	say "all packages are there"
	exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null ||
		fail "these packages are missing:$missing. Installing them" \
			"needs root, and there is no sudo: run as root:" \
			"apt-get update && apt-get install$missing"
	as_root=sudo
fi

say "installing with apt-get (which needs root${as_root:+, so through sudo}):$missing"
retry $as_root apt-get update -q ||
	say "apt-get update failed: trying with the package lists there are"
# shellcheck disable=SC2086
retry $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
	--no-install-recommends $missing ||
	fail "apt-get install failed: see above"
say "done"
