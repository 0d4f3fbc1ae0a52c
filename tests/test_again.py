# SPDX-License-Identifier: GPL-2.0
"""A host that had to back everything again gets it back when it asks for it.

Reading a hole of a shared memory file allocates it: after a migration all of such a
guest is resident, and the guest takes its free memory for reported.
"""

import guest
from guest import MIB
from lab.qemu import Vm

MEM_MIB = 1024

# What may be resident more than before: a tenth, and what a flush leaves.
MORE = 1.1
LEFT_MIB = 64


def migrated(vm):
    """Migrate to nowhere, and go on here."""
    vm.qmp("migrate", uri="exec:cat >/dev/null")
    vm.wait_until(lambda: vm.qmp("query-migrate").get("status") == "completed",
                  "the migration to end", guest.HUNG)
    vm.qmp("cont")


def test_again(image, kernel):
    """What a migration backed leaves by one write, and not before it."""
    with Vm(kernel, f"again-{kernel}", mem_mib=MEM_MIB, share_memory=True,
            fresh=True) as vm:
        vm.run("modprobe aeration_virtio")
        guest.touch_and_free(vm, MEM_MIB // 2)
        vm.run(f"echo 1 > {guest.SYSFS}/flush")
        before = vm.resident()
        assert before < MEM_MIB // 2 * MIB
        for _ in range(2):
            migrated(vm)
            assert vm.resident() > MEM_MIB * MIB * 0.9
            vm.run(f"echo 1 > {guest.SYSFS}/flush")
            assert vm.resident() > MEM_MIB * MIB * 0.8, "a flush has no effect"
            vm.run(f"echo again > {guest.SYSFS}/flush")
            after = vm.resident()
            print(f"{before // MIB} MiB before, {after // MIB} after")
            assert after <= before * MORE + LEFT_MIB * MIB
        guest.unload(vm)
