"""Measures what the codec of dataclasses costs: `python -m benchmarks.codec` (ADR 0030).

Prints the import in fresh processes, the first turn (which makes the encoders and decoders), the
CPU of a turn's values encoded and decoded, and what is said about bad input.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aos.domain.codec import ShapeError, decode, encode
from aos.domain.json_writer import write_json
from aos.domain.runs.run import AdmittedRequest
from aos.domain.wire_time import to_wire_time
from tests.golden.values import FULL_HEAD, FULL_REQUEST, FULL_RUN

STARTS = 11
ROUNDS = 15
TURNS = 200


def import_ms() -> float:
    """Milliseconds that the import takes in a fresh process; the median."""
    paid = "import dataclasses, datetime, enum, functools, operator, typing, aos.domain.wire_time"
    watch = "t = time.perf_counter()"
    statement = "import aos.domain.codec"
    script = f"import time; {paid}; {watch}; {statement}; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", script]
    taken = [float(subprocess.check_output(command)) * 1000 for _ in range(STARTS)]
    return statistics.median(taken)


def turn_values() -> list[Any]:
    """A turn's values, of usual sizes: request, active run of the head, run row, RunEnded, reply.

    The outbox is left out.
    """
    text = "A sentence of an answer, as long as most. " * 40
    request = replace(FULL_REQUEST, message=text, refusal=None)
    run = replace(FULL_RUN, output=text, error=None)
    assert FULL_HEAD.active is not None
    active = replace(FULL_HEAD.active, request=request)
    return [request, active, run, run, run]


def turn_ms() -> tuple[float, float]:
    """Milliseconds of the first turn, and of CPU of a later one: the median of the rounds."""
    values = turn_values()

    def turn() -> None:
        for value in values:
            text = write_json(encode(value), ensure_ascii=False, separators=(",", ":"))
            decode(type(value), json.loads(text.encode("utf-8", "surrogatepass")))

    begun = time.perf_counter()
    turn()
    first = (time.perf_counter() - begun) * 1000
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(TURNS):
            turn()
        taken.append((time.process_time() - begun) * 1000 / TURNS)
    return first, statistics.median(taken)


BAD: dict[str, Callable[[dict[str, Any]], object]] = {
    "missing field": lambda raw: raw.pop("owner"),
    "wrong type": lambda raw: raw.update(catalog_version="seven"),
    "bad nested time": lambda raw: raw["parent"].update(deadline="tomorrow"),
}


def complaint(spoil: Callable[[dict[str, Any]], object]) -> str:
    """Return the error of decoding a broken request."""
    raw = encode(FULL_REQUEST)
    spoil(raw)
    try:
        decode(AdmittedRequest, raw)
    except ShapeError as error:
        return str(error)
    return "accepted"


def main() -> int:
    """Print the figures."""
    say = sys.stdout.write
    now = to_wire_time(datetime.now(UTC))
    say(f"{now}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    say(f"import {import_ms():.1f} ms\n")
    first, later = turn_ms()
    say(f"the first turn {first:.1f} ms, a later one {later:.3f} ms of CPU\n")
    for what, spoil in BAD.items():
        say(f"{what}: {complaint(spoil)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
