# SPDX-License-Identifier: GPL-2.0
"""A model of hundreds of guests of one host that tell all they have at one moment.

Each has one batch with the host at a time, and the host shares what it can do among
those that have one: so a wave is bounded by itself, and what grows with the number of
guests is the time until an ack. A guest begins after a random time (the spread), and no
guest tells more in a second than its cap, with a second's worth at once.
"""

import argparse
import dataclasses
import random

GIB = 1 << 30
MIB = 1 << 20
STEP = 0.05	# s


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What happens to whom."""

    guests: int = 300
    free: tuple = (2 * GIB, 16 * GIB)	# of each, from and to
    batch: int = 128 * MIB		# 32 blocks of 4 MiB
    host: float = 8 * GIB		# bytes a second, all guests together
    one: float = 2 * GIB		# and one by itself at most: a thread of QEMU's
    spread: float = 0.0			# s
    cap: float = 0.0			# bytes a second of each guest; 0: none
    seed: int = 1


@dataclasses.dataclass
class Guest:
    """One of them."""

    begins: float
    left: float			# bytes to tell
    credit: float		# of its cap
    batch: float = 0.0		# bytes with the host
    since: float = 0.0		# when that was given
    ended: float = 0.0


def run(fleet):
    """Return what came of it."""
    rng = random.Random(fleet.seed)
    guests = [Guest(rng.uniform(0, fleet.spread), rng.uniform(*fleet.free), fleet.cap)
              for _ in range(fleet.guests)]
    now, told, second, peak, worst, most = 0.0, 0.0, [], 0.0, 0.0, 0
    while any(guest.left or guest.batch for guest in guests):
        for guest in guests:
            guest.credit = min(guest.credit + fleet.cap * STEP, max(fleet.cap,
                                                                    fleet.batch))
            ready = guest.begins <= now and guest.left and not guest.batch
            if ready and (not fleet.cap or guest.credit >= fleet.batch):
                guest.batch = min(fleet.batch, guest.left)
                guest.left -= guest.batch
                guest.credit -= guest.batch
                guest.since = now
        busy = [guest for guest in guests if guest.batch]
        most = max(most, len(busy))
        done = 0.0
        for guest in busy:
            part = min(guest.batch, STEP * min(fleet.one, fleet.host / len(busy)))
            guest.batch -= part
            done += part
            if not guest.batch:
                worst = max(worst, now + STEP - guest.since)
                guest.ended = now + STEP
        second = (second + [done])[-round(1 / STEP):]
        peak = max(peak, sum(second))
        told += done
        now += STEP
    return {"peak GiB/s": peak / GIB, "at a time": most, "worst ack s": worst,
            "all told s": now, "GiB": told / GIB,
            "mean s": sum(guest.ended - guest.begins for guest in guests) / len(guests)}


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guests", type=int, default=300)
    guests = parser.parse_args().guests
    for host in (8, 64):
        for spread in (0, 30, 300):
            for cap in (0, 4 * GIB, GIB // 4):
                found = run(Fleet(guests=guests, host=host * GIB, spread=spread,
                                  cap=cap))
                print(f"host {host:2} GiB/s, spread {spread:3} s, cap "
                      f"{cap / GIB:5.2f} GiB/s:", ", ".join(
                          f"{name} {value:.1f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
