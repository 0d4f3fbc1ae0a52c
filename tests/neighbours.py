# SPDX-License-Identifier: GPL-2.0
"""Programs that share a guest, see kselftest/neighbours.sh: does anybody pay for us?"""

import domu
import guest

MEM_MIB = 1024		# of a guest for neighbours.sh
FILES_MIB = 200		# what that keeps in use
PAGE = 4096

# Of what is in use, as much may go because of us: one part in fifty.
CACHE_PAGES = FILES_MIB * guest.MIB // PAGE
MORE = CACHE_PAGES // 50

TIMEOUT = 300	# seconds for one burst, however busy the host is


def burst(vm, percent, churn=""):
    """Take so much of what is available; return {name: count} of what that cost.

    After so many MiB were taken and freed over and over, if that is said.
    """
    out = vm.run(f"/opt/aeration/neighbours.sh burst {percent} {churn}",
                 timeout=TIMEOUT).out
    said = dict(line.split() for line in out.splitlines())
    cost = {name: float(value) for name, value in said.items()}
    cost["stolen"] = cost["pgsteal_kswapd"] + cost["pgsteal_direct"]
    return cost


def check_costs(without, with_us):
    """Fail if somebody had to pay for what was held.

    Where memory runs out either way the kernel drops files or swaps, as it comes: of
    the same burst with nothing held 0 pages and 20 089 were swapped, and 569 pages of
    files read again where 1896 were with memory held, which took an eighth as many from
    their owners. So what is taken counts; and where nothing would have been, nothing is
    read again or swapped.
    """
    assert with_us["stolen"] <= without["stolen"] + MORE
    if not without["stolen"]:
        assert with_us["again_workingset_refault_file"] <= MORE
        assert with_us["pswpout"] == 0
        assert with_us["again_workingset_refault_anon"] == 0
    assert with_us["oom_kill"] == 0


def held_at_most(domain, most):
    """Have a domain hold at most so much; wait until it does."""
    domain.run(f"echo {most} > {guest.SYSFS}/max_held")
    if most == "0":
        guest.wait_value(domain, "hold/held_bytes", "0")
    else:
        domu.settled(domain, MEM_MIB // 4)


def on_xen(domain):
    """Fail if somebody in a domain pays for what it holds: when others take more."""
    domain.run("/opt/aeration/neighbours.sh start", timeout=TIMEOUT)
    held_at_most(domain, "0")
    burst(domain, 60)	# the host, too, has to find memory once
    for percent in (60, 90):
        found = []
        for most in ("0", "100%"):
            held_at_most(domain, most)
            back = guest.stat(domain, "restored_bytes")
            found.append(burst(domain, percent))
            back = (guest.stat(domain, "restored_bytes") - back) // guest.MIB
            print(f"{percent} %, {back} MiB came back:", found[-1])
            assert most == "0" or back > MEM_MIB // 8
        check_costs(*found)
