"""Compares candidates for one codec of dataclasses: `python -m benchmarks.codec` (ADR 0030).

Measures the import in fresh processes, the first turn (which compiles what a candidate compiles),
the CPU of a turn's values written and read. Shows what each says about bad input, whether it keeps
half a surrogate pair, and how what it writes differs from the bytes of today. msgspec is not a
dependency of AOS; it is measured where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aos.domain.json_writer import write_json
from aos.domain.runs.run import AdmittedRequest
from aos.domain.wire_time import to_wire_time
from benchmarks import field_codec
from tests.golden.values import FULL_HEAD, FULL_REQUEST, FULL_RUN

STARTS = 11
ROUNDS = 15
TURNS = 200
Write = Callable[[Any], bytes]
Read = Callable[[type[Any], bytes], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to write values and to read them back; `statement` is what importing it costs."""

    name: str
    statement: str
    write: Write
    read: Read


def _dumps(raw: Any) -> bytes:
    return write_json(raw, ensure_ascii=False, separators=(",", ":"), default=to_wire_time).encode(
        "utf-8", "surrogatepass"
    )


def by_hand() -> Candidate:
    """What the product does today."""
    return Candidate(
        name="by hand",
        statement="pass",
        write=lambda value: _dumps(value.to_dict()),
        read=lambda kind, body: kind.from_dict(json.loads(body)),
    )


def own() -> Candidate:
    """The codec of `benchmarks/field_codec.py`."""
    return Candidate(
        name="own codec",
        statement="import benchmarks.field_codec",
        write=lambda value: _dumps(field_codec.write(value)),
        read=lambda kind, body: field_codec.read(kind, json.loads(body)),
    )


def with_pydantic() -> list[Candidate]:
    """TypeAdapter straight to bytes, and to an object that AOS writes with times of its own."""
    from pydantic import TypeAdapter

    adapter: Callable[[Any], Any] = cache(TypeAdapter)
    statement = "from pydantic import TypeAdapter"
    return [
        Candidate(
            name="pydantic, bytes",
            statement=statement,
            write=lambda value: bytes(adapter(type(value)).dump_json(value)),
            read=lambda kind, body: adapter(kind).validate_json(body),
        ),
        Candidate(
            name="pydantic, objects",
            statement=statement,
            write=lambda value: _dumps(adapter(type(value)).dump_python(value)),
            read=lambda kind, body: adapter(kind).validate_python(json.loads(body)),
        ),
    ]


def with_msgspec() -> list[Candidate]:
    """msgspec straight to bytes, and to an object that AOS writes with times of its own."""
    msgspec = importlib.import_module("msgspec")
    decoder: Callable[[Any], Any] = cache(msgspec.json.Decoder)
    return [
        Candidate(
            name="msgspec, bytes",
            statement="import msgspec",
            write=msgspec.json.Encoder().encode,
            read=lambda kind, body: decoder(kind).decode(body),
        ),
        Candidate(
            name="msgspec, objects",
            statement="import msgspec",
            write=lambda value: _dumps(msgspec.to_builtins(value, builtin_types=(datetime,))),
            read=lambda kind, body: msgspec.convert(json.loads(body), kind),
        ),
    ]


def candidates() -> list[Candidate]:
    """Those that are installed."""
    found = [by_hand(), own(), *with_pydantic()]
    return [*found, *with_msgspec()] if importlib.util.find_spec("msgspec") else found


def import_ms(statement: str) -> float:
    """Milliseconds that the statement takes in a fresh process; the median."""
    paid = "import dataclasses, datetime, json, typing"
    watch = "t = time.perf_counter()"
    script = f"import time; {paid}; {watch}; {statement}; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", script]
    taken = [float(subprocess.check_output(command)) * 1000 for _ in range(STARTS)]
    return statistics.median(taken)


def turn_values() -> list[Any]:
    """A turn's values, of usual sizes: request, head, run row, run of RunEnded, run of the reply.

    The outbox, a union of commands, is left out for all candidates alike.
    """
    text = "A sentence of an answer, as long as most. " * 40
    request = replace(FULL_REQUEST, message=text, refusal=None)
    run = replace(FULL_RUN, output=text, error=None)
    assert FULL_HEAD.active is not None
    active = replace(FULL_HEAD.active, request=request)
    return [request, active, run, run, run]


def turn_ms(candidate: Candidate) -> tuple[float, float]:
    """Milliseconds of the first turn, and of CPU of a later one: the median of the rounds."""
    values = turn_values()

    def turn() -> None:
        for value in values:
            candidate.read(type(value), candidate.write(value))

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


def complaint(candidate: Candidate, spoil: Callable[[dict[str, Any]], object]) -> str:
    """What reading says about a spoilt request."""
    raw = FULL_REQUEST.to_dict()
    spoil(raw)
    try:
        candidate.read(AdmittedRequest, _dumps(raw))
    except Exception as error:  # noqa: BLE001 - the text is what is compared
        return " ".join(f"{type(error).__name__}: {error}".split())
    return "accepted"


def keeps_half_a_pair(candidate: Candidate) -> str:
    """What becomes of a text that holds half a surrogate pair, as callers may send it."""
    given = replace(FULL_REQUEST, message="half \ud83d")
    try:
        read = candidate.read(AdmittedRequest, candidate.write(given))
    except Exception as error:  # noqa: BLE001 - the text is what is compared
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "kept" if read == given else "changed"


def differences(candidate: Candidate) -> list[str]:
    """How what it writes differs from the bytes of today, each difference once."""
    found: dict[str, None] = {}
    for value in (FULL_REQUEST, FULL_RUN, FULL_HEAD.active):
        assert value is not None
        written = candidate.write(value)
        for difference in _unlike(json.loads(written), json.loads(_dumps(value.to_dict()))):
            found[f"{type(value).__name__}{difference}"] = None
    return list(found)


def _unlike(written: Any, wanted: Any, path: str = "") -> Iterator[str]:
    if isinstance(written, dict) and isinstance(wanted, dict):
        if missing := [name for name in wanted if name not in written]:
            yield f"{path}: lacks {missing}"
        same = [name for name in wanted if name in written]
        if list(written) != same:
            yield f"{path}: the fields are in another order"
        for name in same:
            yield from _unlike(written[name], wanted[name], f"{path}.{name}")
    elif isinstance(written, list) and isinstance(wanted, list):
        for place, (one, other) in enumerate(zip(written, wanted, strict=True)):
            yield from _unlike(one, other, f"{path}[{place}]")
    elif written != wanted or type(written) is not type(wanted):
        yield f"{path}: {written!r}, wanted {wanted!r}"


def main() -> int:
    """Print the figures."""
    say = sys.stdout.write
    now = to_wire_time(datetime.now(UTC))
    say(f"{now}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    for candidate in candidates():
        say(f"\n{candidate.name}\n  import {import_ms(candidate.statement):.1f} ms\n")
        first, later = turn_ms(candidate)
        say(f"  the first turn {first:.1f} ms, a later one {later:.3f} ms of CPU\n")
        say(f"  half a surrogate pair: {keeps_half_a_pair(candidate)}\n")
        for what, spoil in BAD.items():
            say(f"  {what}: {complaint(candidate, spoil)[:300]}\n")
        for difference in differences(candidate) or ["none"]:
            say(f"  bytes that differ: {difference}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
