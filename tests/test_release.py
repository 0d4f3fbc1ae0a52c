# SPDX-License-Identifier: GPL-2.0
"""What is no surplus yet stays. What is, leaves: see test_time.py, test_matrix.py."""

import guest
from guest import MIB

WINDOW_MS = 60000

# The mm begins a pass of its own 2 s after blocks were freed. Were that not called
# off, some would run in the first of these times, s. The second ends just before the
# window does.
PASSES = 7
REST = 40

# One command: between two, hours go by in this guest.
SCRIPT = f"""
set -e
modprobe aeration window_ms={WINDOW_MS}
modprobe aeration_virtio
read -r start idle </proc/uptime
for round in 1 2; do
	/opt/aeration/memwork churn 256 1 >/dev/null
	sleep {PASSES}
done
sleep {REST}
cat {guest.SYSFS}/stats/held_back {guest.SYSFS}/stats/bytes
read -r now idle </proc/uptime
echo $start $now
echo 0 >{guest.SYSFS}/window_ms
sleep {PASSES}
cat {guest.SYSFS}/stats/bytes
"""


def test_nothing_leaves_within_the_window(image, kernel):
    """What is no surplus yet stays, and no pass of the mm's takes it in hand.

    Blocks that are isolated and refused are put back behind those that are
    reported: the guest would take reported memory before them.
    """
    with guest.counting(kernel, "release-window") as vm:
        held_back, early, start, now, late = vm.run(SCRIPT).out.split()
        assert REST < float(now) - float(start) < WINDOW_MS / 1000
        assert int(held_back) == 0
        assert int(early) == 0
        assert int(late) > 1024 * MIB, "all of it goes once there is no window"
        guest.unload(vm)
