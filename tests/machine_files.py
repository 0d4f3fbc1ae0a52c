# SPDX-License-Identifier: GPL-2.0
"""Folders that look like sys and proc of a guest, for aerationctl --root."""

MIB = 1 << 20

# What the files have in a guest of 2 GiB on QEMU that has given 1500 MiB back.
RUNNING = {
    "sys/kernel/aeration/state": "running",
    "sys/kernel/aeration/backend": "virtio",
    "sys/kernel/aeration/window_ms": "1000",
    "sys/kernel/aeration/window_now_ms": "1000",
    "sys/kernel/aeration/backoff_ms": "30000",
    "sys/kernel/aeration/regretted_bytes": "0",
    "sys/kernel/aeration/reserve_mb": "16",
    "sys/kernel/aeration/order": "9",
    "sys/kernel/aeration/capacity": "32",
    "sys/kernel/aeration/max_held": "100%",
    "sys/kernel/aeration/stats/batches": "24",
    "sys/kernel/aeration/stats/blocks": "750",
    "sys/kernel/aeration/stats/bytes": str(1500 * MIB),
    "sys/kernel/aeration/stats/refused": "0",
    "sys/kernel/aeration/stats/errors": "0",
    "sys/kernel/aeration/stats/timeouts": "0",
    "sys/kernel/aeration/stats/held_back": "3",
    "sys/kernel/aeration/stats/samples": "40",
    "sys/kernel/aeration/stats/in_flight_bytes": "0",
    "sys/kernel/aeration/stats/restores": "0",
    "sys/kernel/aeration/stats/restored_bytes": "0",
    "sys/kernel/aeration/hold/held_bytes": "0",
    "sys/kernel/aeration/hold/starved": "0",
    "sys/kernel/aeration/hold/forfeited_bytes": "0",
    "sys/kernel/aeration/hold/out_of_reach_bytes": "0",
    "sys/kernel/aeration/hold/quarantined": "0",
    "sys/kernel/aeration/request/start": "",
    "sys/kernel/aeration/request/cancel": "",
    "sys/kernel/aeration/request/status": "0 flush none 0 0",
    "sys/kernel/aeration/why/virtio": "in use",
    "sys/kernel/aeration/why/xen": "this is not a Xen domain",
    "sys/kernel/aeration/why/hyperv": "this does not run on Hyper-V",
    "sys/kernel/aeration/why/loop":
        "a test device; runs only when asked for by name",
    "sys/module/aeration/parameters/backend": "auto",
    "sys/module/aeration/srcversion": "0123456789ABCDEF",
    "sys/bus/virtio/devices/virtio0/device": "0x0001",
    "sys/bus/virtio/devices/virtio1/device": "0x0005",
    "sys/bus/virtio/devices/virtio1/features": "0110011" + "0" * 25 + "1" + "0" * 31,
    "sys/bus/virtio/devices/virtio1/driver": "-> aeration_virtio",
    "proc/meminfo": "MemTotal:        2097152 kB\nMemFree:         1887436 kB\n"
                    "MemAvailable:    1900000 kB\nBuffers:            1024 kB\n"
                    "Cached:            20480 kB\nShmem:              4096 kB\n"
                    "SReclaimable:       2048 kB",
    "proc/buddyinfo": "Node 0, zone    DMA32      4      3      2      5      1      0"
                      "      3      2      1      2    458",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    "proc/version": "Linux version 6.12.0-test",
    "proc/sys/kernel/osrelease": "6.12.0-test",
    "proc/sys/kernel/tainted": "12288",
    "proc/cmdline": "root=/dev/sda1 secret=1 aeration.window_ms=1000 quiet",
    "dev/kmsg": "6,1,2,-;aeration: backend virtio\n SUBSYSTEM=x\n",
}

# Of a domain of Xen that holds 800 MiB.
XEN = {
    **RUNNING,
    "sys/kernel/aeration/backend": "xen",
    "sys/kernel/aeration/capacity": "512",
    "sys/kernel/aeration/max_held": "87%",
    "sys/kernel/aeration/stats/restored_bytes": str(700 * MIB),
    "sys/kernel/aeration/hold/held_bytes": str(800 * MIB),
    "sys/kernel/aeration/why/virtio":
        "no device: its module is not loaded or found none",
    "sys/kernel/aeration/why/xen": "in use",
    "sys/hypervisor/type": "xen",
    "sys/bus/virtio/devices/virtio1/device": None,
    "sys/bus/virtio/devices/virtio1/features": None,
    "sys/bus/virtio/devices/virtio1/driver": None,
}

OFF = {
    **RUNNING,
    "sys/kernel/aeration/state": "off",
    "sys/kernel/aeration/backend": "none",
    "sys/kernel/aeration/window_now_ms": "0",
    "sys/kernel/aeration/order": "0",
    "sys/kernel/aeration/capacity": "0",
    "sys/kernel/aeration/why/virtio": "asked for: none",
    "sys/module/aeration/parameters/backend": "none",
}

FAILED = {
    **RUNNING,
    "sys/kernel/aeration/state": "failed",
    "sys/kernel/aeration/backend": "none",
    "sys/kernel/aeration/stats/errors": "1",
    "sys/kernel/aeration/stats/timeouts": "1",
    "sys/kernel/aeration/why/virtio": "device did not answer within 30000 ms",
}

STARVED = {
    **XEN,
    "sys/kernel/aeration/hold/starved": "1",
}

NOT_LOADED = {
    **{path: None for path in RUNNING if "aeration" in path},
    **{path: text for path, text in RUNNING.items() if "aeration" not in path},
    "sys/bus/virtio/devices/virtio1/driver": "-> virtio_balloon",
}

STATES = {"running": RUNNING, "xen": XEN, "off": OFF, "failed": FAILED,
          "starved": STARVED, "not-loaded": NOT_LOADED}


def furnish(folder, files):
    """Put files into a folder; "-> name" is a link to something of that name."""
    for path, text in files.items():
        if text is None:
            continue
        at = folder / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            at.symlink_to(f"../../drivers/{text[3:]}")
        else:
            at.write_text(text + "\n", encoding="utf-8")
    return folder
