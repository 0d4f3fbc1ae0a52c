#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Makes a booted domain 0 able to run guests: what Xen's tools expect of a
# machine, and their daemons.
set -eu

modprobe -a xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs
# Built into some kernels, then this does nothing.
modprobe virtio_console
mount -t xenfs xenfs /proc/xen
# For saved domains.
mount -o remount,size=90% /tmp
mkdir -p /run/lock /run/xen /var/lib/xen /var/log/xen
# A domain that ends is said on the kernel's console at once.
echo 8 > /proc/sys/kernel/printk

xenstored --pid-file /run/xen/xenstored.pid
xen-init-dom0
xenconsoled --pid-file=/run/xen/xenconsoled.pid
setsid /opt/xen/watch.sh </dev/null >/dev/null 2>&1 &
