"""Counts what an idle system asks of storage and Service Bus: `python -m benchmarks.idle`. Entry
point: `main`.

It counts the calls of an idle laptop, whose timers tick faster than in Azure, and computes what the
same ticks are there in a day. The platform's own calls (the host's leases, scaling) are not
included; docs/COST.md adds them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import parts
from benchmarks.budget import find_targets, make_proxy_settings
from benchmarks.counting import BUS, CountingProxy
from devhost.laptop import Laptop

QUIET_SECONDS = 8.0
"""Seconds after the start, in which the first card and the first checks are done."""
DAY_SECONDS = 86_400
LAPTOP_PERIOD_SECONDS = {
    "catalog": 5.0,
    "mender": 5.0,
    "wake": 5.0,
    "clean": 5.0,
    "dead letters": 15.0,
}
AZURE_PERIOD_SECONDS = {
    "dev": {
        "catalog": 900.0,
        "mender": 300.0,
        "wake": 300.0,
        "clean": 3600.0,
        "dead letters": 900.0,
    },
    "prod": {
        "catalog": 300.0,
        "mender": 30.0,
        "wake": 60.0,
        "clean": 3600.0,
        "dead letters": 300.0,
    },
}
"""The periods that Bicep sets, and the default of the cleaning. The catalog timer of main and the
listing timer of mcp have the same."""
READS = {
    "aospending": "mender",
    "aosindex": "clean",
    "aos-jobs-poison": "dead letters",
    "requests": "dead letters",
}
"""What one kind of work alone reads."""
OF_THE_HOST = "queue GET aos-jobs"
"""The poll of the queue trigger: a call of the platform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """What a number of idle seconds took: calls by service, method and object."""

    seconds: float
    calls: Counter[str]

    def per_tick(self) -> dict[str, float]:
        """Return the calls of each kind for one tick of the timer that makes them."""
        return {
            call: count * find_laptop_period(call) / self.seconds
            for call, count in sorted(self.calls.items())
            if call not in (BUS, OF_THE_HOST)
        }

    def bus_messages(self) -> int:
        """Return the messages that the apps sent. An idle system sends none."""
        return self.calls[BUS]


def counted(*, root: Path, model: str, seconds: float) -> Idle:
    """Let a laptop with one agent idle, and count its calls."""
    with (
        Laptop(root=root / "parts", model_endpoint=model, apps=()) as infrastructure,
        CountingProxy(find_targets(infrastructure)) as proxy,
        parts.laptop(root=root / "apps", model=model, settings=make_proxy_settings(proxy)),
    ):
        time.sleep(QUIET_SECONDS)
        began, before = time.monotonic(), Counter(proxy.calls)
        time.sleep(seconds)
        return Idle(seconds=time.monotonic() - began, calls=Counter(proxy.calls) - before)


def compute_per_day(per_tick: Mapping[str, float], environment: str) -> dict[str, int]:
    """Return the calls of each kind in a day with the timers of Azure, in whole calls for each
    tick."""
    periods = AZURE_PERIOD_SECONDS[environment]
    return {
        call: round(count) * int(DAY_SECONDS / periods[_find_timer(call)])
        for call, count in per_tick.items()
        if round(count)
    }


def find_laptop_period(call: str) -> float:
    """Return the period of the timer that makes this call, on the laptop."""
    return LAPTOP_PERIOD_SECONDS[_find_timer(call)]


def _find_timer(call: str) -> str:
    return READS.get(call.rpartition(" ")[2], "catalog")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true", help="the figures as JSON, on the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aos-idle-") as folder, parts.instant_model() as model:
        idle = counted(root=Path(folder), model=model, seconds=options.seconds)
    ticks = idle.per_tick()
    days = {name: compute_per_day(ticks, name) for name in AZURE_PERIOD_SECONDS}
    say = sys.stdout.write
    say(f"{idle.seconds:.0f} idle seconds, {idle.bus_messages()} bus messages\n")
    for call, count in ticks.items():
        there = "  ".join(f"{name} {day.get(call, 0):>6,} a day" for name, day in days.items())
        say(f"  {call:<28} {count:6.2f} a tick  {there}\n")
    together = "  ".join(f"{name} {sum(day.values()):>6,} a day" for name, day in days.items())
    say(f"  {'together':<43}  {together}\n")
    if options.json:
        say(json.dumps({"bus": idle.bus_messages(), "per_tick": ticks}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
