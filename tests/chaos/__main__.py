"""Asks the whole laptop while its processes die, and judges what came of it: `make chaos`.

Storage (Azurite), the local Service Bus and the three apps serve requests over HTTP and the queue,
half of them with calls of an unsafe tool. Every few seconds one of them is killed with SIGKILL
(Azurite with SIGTERM). Beside that, each in turn is frozen for longer than a lock, storage becomes
slow, and the disk of the bus is full. The exit code is 1 if a request is lost, has two contents or
repeats a call, or if recovery takes too long.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from azure.servicebus import ServiceBusClient

from benchmarks.figures import percentile
from benchmarks.proxy import Proxy
from devhost import azurite
from devhost.apps import BUS_CONFIG
from devhost.laptop import REPOSITORY, Laptop
from devhost.ports import Ports
from devhost.settings import BUS, STORAGE
from tests.chaos.faults import Harm
from tests.chaos.load import AGENT, HttpClients, Notes, QueueClient, call
from tests.chaos.verdict import (
    Request,
    Seen,
    Verdict,
    describe_slowest,
    judge,
    list_latencies,
    list_recoveries,
)
from tests.contract.mcp.kit import NASTY
from tests.e2e.road import REQUESTS, Road, eventually
from tests.scripted_model import Request as ModelRequest
from tests.scripted_model import Say, running_model

LOCK_SECONDS = 5
LONGER_THAN_A_LOCK = LOCK_SECONDS + 3.0
RECOVERY_SECONDS = LOCK_SECONDS + 10.0
PAUSE_SECONDS = 20.0
"""Between two faults that last."""
SHARED_CONVERSATIONS = 10
TOOL_SECONDS = 0.3
CLIENTS = 8
"""HTTP clients, and requests on the queue that wait for their reply."""
ENTITIES = (REQUESTS, "aos-main", "aos-realm", "aos-mcp")
QUESTION = re.compile(r"^question (\d+) effects (\d+)$")
ANSWER = re.compile(r"^re: (\d+) ")


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--requests", type=int, default=2000, help="accepted requests (%(default)s)"
    )
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=1, help="order of the faults")
    parser.add_argument("--seconds", type=float, default=3600.0, help="ask at most for so long")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds for the last ends")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="aos-chaos-"))
    print(f"data and logs: {root}", flush=True)
    notes, harm, seconds = _run(root, options)
    seen, faults = notes.seen, harm.faults
    _write_down(root / "requests.jsonl", seen)
    verdict = judge(seen)
    recoveries = list_recoveries(seen, faults)
    _print_table(notes, harm, verdict, seconds=seconds)
    slow = bool(recoveries) and percentile(recoveries, 0.95) > RECOVERY_SECONDS
    for line in [*verdict.list_faults()[:50], *describe_slowest(seen, faults)]:
        print(f"  {line}")
    return 1 if slow or not verdict.is_clean else 0


def _run(root: Path, options: argparse.Namespace) -> tuple[Notes, Harm, float]:
    notes = Notes(Seen())
    marks = root / "marks"
    with running_model() as model, _laptops(root, model.endpoint) as (below, apps, proxy):
        model.always(_Talker(options.seed))
        road = Road(apps)
        _publish(road, marks)
        harm = Harm(
            laptop_of=lambda name: below if name in ("azurite", "servicebus") else apps,
            storage=proxy,
            seed=options.seed,
            every=options.every,
            lasting=LONGER_THAN_A_LOCK,
            pause=PAUSE_SECONDS,
        )
        began = time.monotonic()
        with harm:
            queue = _ask(road, notes, options)
        seconds = time.monotonic() - began
        for line in harm.errors:
            print(f"a fault failed: {line}", flush=True)
        _await_ends(notes, options)
        time.sleep(LOCK_SECONDS + 1)  # a second reply or effect would come with an ended lock
        notes.closing.set()
        queue.receiving.join(10)
        _read_conversations(road, notes.seen)
        notes.seen.effects = Counter(marks.read_text().split() if marks.exists() else [])
        notes.seen.dead = {name: len(road.dead_letters(name)) for name in ENTITIES}
        road.close()
    return notes, harm, seconds


def _ask(road: Road, notes: Notes, options: argparse.Namespace) -> QueueClient:
    """Ask until all are accepted or the time is over."""
    over = time.monotonic() + options.seconds
    count: int = options.requests

    def connect() -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(
            road.laptop.servicebus_connection_string, retry_total=1
        )

    queue = QueueClient(connect, notes, window=CLIENTS)
    queue.receiving.start()
    half = count // 2
    http = HttpClients(road, notes, requests=_make("http", range(half), over=over), count=CLIENTS)
    for thread in http.threads:
        thread.start()
    sending = queue.send_all(_make("queue", range(half, count), over=over))
    told = 0
    while sending.is_alive() or any(thread.is_alive() for thread in http.threads):
        time.sleep(1)
        if (done := len(notes.seen.ends)) >= told + 100:
            told = done
            print(f"{len(notes.seen.accepted)} accepted, {done} ended", flush=True)
    return queue


def _make(door: str, numbers: range, *, over: float) -> Iterator[Request]:
    for number in numbers:
        if time.monotonic() > over:
            return
        shared = number % 4 == 0
        yield Request(
            number=number,
            door=door,
            effects=(0, 1, 0, 2)[number // 4 % 4] if shared else (0, 1, 0, 2)[number % 4],
            conversation_id=f"{door}-{number // 4 % SHARED_CONVERSATIONS}"
            if shared
            else f"own-{number}",
        )


def _await_ends(notes: Notes, options: argparse.Namespace) -> None:
    seen = notes.seen
    deadline = time.monotonic() + options.patience
    while len(seen.ends) < len(seen.accepted) and time.monotonic() < deadline:
        time.sleep(0.5)


class _Talker:
    """The model: calls the tool as often as the question says, then answers, never twice alike."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = itertools.count(1)

    def __call__(self, asked: ModelRequest) -> Say:
        messages = asked.messages
        last = max(i for i, m in enumerate(messages) if m["role"] == "user")
        found = QUESTION.match(messages[last]["content"])
        assert found, messages[last]
        delay = self._random.uniform(0.05, 0.4)
        results = [m["content"] for m in messages[last:] if m["role"] == "tool"]
        request = Request(number=int(found[1]), door="", effects=int(found[2]), conversation_id="")
        if request.effects and not results:
            name = asked.body["tools"][0]["function"]["name"]
            arguments = [{"text": it, "seconds": TOOL_SECONDS} for it in request.list_effects()]
            return Say(calls=[(name, it) for it in arguments], delay=delay)
        text = f"re: {found[1]} no. {next(self._count)} {' and '.join(results)}"
        return Say(text, delay=delay)


@contextlib.contextmanager
def _laptops(root: Path, model: str) -> Iterator[tuple[Laptop, Laptop, Proxy]]:
    """Storage and bus; the apps on them; what stands between the apps and storage."""
    config = _shorten_locks(root)
    with (
        Laptop(root=root / "below", apps=(), model_endpoint=model, servicebus_config=config) as low,
        Proxy(_storage_ports(low)) as proxy,
    ):
        settings = {
            "AOS_MODEL": "scripted",
            "AOS_MCP_ALLOWED": f"{sys.executable} {NASTY}",
            "AOS_SERVICEBUS_HTTP_PORT": str(low.settings.ports.servicebus_http),
            BUS: low.servicebus_connection_string,
            STORAGE: azurite.connection_string(Ports(**proxy.ports)),
        }
        with Laptop(root=root, model_endpoint=model, settings=settings) as apps:
            yield low, apps, proxy


def _storage_ports(laptop: Laptop) -> dict[str, int]:
    ports = laptop.settings.ports
    return {"blob": ports.blob, "queue": ports.queue, "table": ports.table}


def _shorten_locks(folder: Path) -> Path:
    """The product's bus entities with short locks: the file."""
    text = (REPOSITORY / BUS_CONFIG).read_text("utf-8")
    path = folder / "servicebus.json"
    path.write_text(
        re.sub(r'"LockDuration": "[^"]*"', f'"LockDuration": "PT{LOCK_SECONDS}S"', text)
    )
    return path


def _publish(road: Road, marks: Path) -> None:
    server = road.live_server("marks", command=sys.executable, args=[NASTY, "--marks", str(marks)])
    road.live(AGENT, mcp_tools=[f"{server}/mark"])


def _read_conversations(road: Road, seen: Seen) -> None:
    """Read what stands in each conversation."""
    for name in sorted({request.conversation_id for request in seen.requests.values()}):
        for message in _read_messages(road, name):
            text = str(message.get("content") or "")
            if message["role"] == "user" and (found := QUESTION.match(text)):
                seen.questions[int(found[1])] += 1
            elif message["role"] == "assistant" and (found := ANSWER.match(text)):
                seen.answers.setdefault(int(found[1]), []).append(text)


def _read_messages(road: Road, conversation_id: str) -> Iterator[dict[str, object]]:
    path: str | None = f"/api/conversations/{conversation_id}/messages?limit=100"
    while path:
        look = functools.partial(call, road, "GET", path)
        page = eventually(look, seconds=60, what="the messages")
        if page.status == 404:
            return
        yield from page.body["items"]
        path = page.body.get("next")


def _write_down(path: Path, seen: Seen) -> None:
    """Write a line for each request, to be read with the logs."""
    offset = time.time() - time.monotonic()
    with path.open("w", encoding="utf-8") as file:
        for number, accepted in sorted(seen.accepted.items()):
            ended = seen.ended.get(number)
            line = {
                **asdict(seen.requests[number]),
                "accepted": datetime.fromtimestamp(accepted + offset, UTC).isoformat(),
                "seconds": None if ended is None else round(ended - accepted, 3),
                "ends": [asdict(end) for end in seen.ends.get(number, [])],
            }
            file.write(json.dumps(line) + "\n")


def _print_table(notes: Notes, harm: Harm, verdict: Verdict, *, seconds: float) -> None:
    seen, faults = notes.seen, harm.faults
    latencies, recoveries = list_latencies(seen), list_recoveries(seen, faults)
    doors = Counter(request.door for request in seen.requests.values())
    asked = sum(request.effects for request in seen.requests.values())
    rows: list[tuple[str, str]] = [
        ("requests accepted", f"{len(seen.accepted)}: " + _count(doors)),
        ("seconds under load, lock", f"{seconds:.0f}, {LOCK_SECONDS}"),
        ("attempts that were repeated", _count(notes.refused)),
        ("effects of unsafe calls, asked for", f"{sum(seen.effects.values())}, {asked}"),
    ]
    rows += [(name, str(n)) for name, n in sorted(Counter(it.name for it in faults).items())]
    rows += [
        ("lost", str(len(verdict.lost))),
        ("failed", str(len(verdict.failed))),
        ("with two contents", str(len(verdict.doubled))),
        ("unsafe calls repeated", str(len(verdict.repeated))),
        ("calls told as made that were not", str(len(verdict.untrue))),
        ("entities with dead letters", str(len(verdict.dead))),
        ("seconds until a killed process serves", _describe(harm.starts)),
        ("latency p50 / p95 / max", _describe(latencies)),
        (f"recovery p50 / p95 / max ({len(recoveries)} requests)", _describe(recoveries)),
        ("recovery p95, at most", f"{RECOVERY_SECONDS:.0f} s (lock + 10)"),
    ]
    print()
    for name, value in rows:
        print(f"  {name:<44} {value}")


def _count(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _describe(values: list[float]) -> str:
    if not values:
        return "none"
    shares = [percentile(values, share) for share in (0.5, 0.95, 1.0)]
    return " / ".join(f"{value:.2f}" for value in shares) + " s"


if __name__ == "__main__":
    sys.exit(main())
