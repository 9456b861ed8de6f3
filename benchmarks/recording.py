"""Records each storage call and bus message between the apps and their services, with its rows and
times. Entry point: `RecordingProxy`."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote

from aos.domain.row_kinds import find_row_kind
from benchmarks.proxy import BUS, Proxy, RequestReader, Watcher
from devhost.amqp.frames import Frame, FrameReader
from devhost.amqp.performatives import Attach, Source, Target, Transfer

READ, WRITE, DELETE, QUERY = "read", "write", "delete", "query"
VERBS = {"GET": READ, "POST": WRITE, "PUT": WRITE, "PATCH": WRITE, "MERGE": WRITE, "DELETE": DELETE}
BROKER_NODES = ("$cbs", "$management")
"""What is sent there asks the broker something and is not a message."""
LARGEST_FRAME = 4 * 1024 * 1024
_ENTITY = re.compile(r"^([A-Za-z]\w*)\(PartitionKey='(.*)',\s*RowKey='(.*)'\)$", re.DOTALL)
_OPERATION = re.compile(rb"^([A-Z]+) (https?://\S+) HTTP/1\.1\r?$", re.MULTILINE)
_KEYS = {key: re.compile(rf'"{key}": ?("(?:[^"\\]|\\.)*")') for key in ("PartitionKey", "RowKey")}
_ROW = re.compile(r"RowKey (?:eq|ge|gt) '([^']*)'")
_TYPE = re.compile(rb'"type": ?"([A-Za-z.]+)"')
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}")


@dataclass(slots=True, kw_only=True)
class Call:
    """One storage call or bus message, with the times of `time.perf_counter`.

    A message ends when it is delivered. `ended` is None until then.
    """

    service: str
    what: str
    client_port: int
    began: float
    ended: float | None = None


class RecordingProxy(Proxy):
    """Passes connections on; `calls` is what passed, in the order of its beginnings."""

    def __init__(self, targets: Mapping[str, int], *, delay: float = 0.0) -> None:
        super().__init__(targets, delay=delay)
        self.calls: list[Call] = []

    def watch(self, service: str, client_port: int) -> Watcher:
        """Return what records the calls of a new connection."""
        if service == BUS:
            return _MessageRecorder(self, client_port)
        return _CallRecorder(self, service, client_port)


class _CallRecorder:
    """Records the requests of one connection, which come one after the other."""

    def __init__(self, proxy: RecordingProxy, service: str, client_port: int) -> None:
        self._proxy = proxy
        self._service = service
        self._client_port = client_port
        self._requests = RequestReader(self._begin, self._complete)
        self._line = ("", "")
        self._call: Call | None = None

    def read_request(self, data: bytes) -> None:
        """Read the next bytes of the client."""
        self._requests.feed(data)

    def read_answer(self, data: bytes) -> None:
        """An answer ends with its last bytes."""
        if self._call is not None:
            self._call.ended = time.perf_counter()

    def _begin(self, method: str, path: str) -> None:
        self._line = (method, path)
        self._call = Call(
            service=self._service, what="", client_port=self._client_port, began=time.perf_counter()
        )
        self._proxy.calls.append(self._call)

    def _complete(self, body: bytes) -> None:
        assert self._call is not None
        describe = describe_table_call if self._service == "table" else describe_call
        self._call.what = describe(*self._line, body)


class _MessageRecorder:
    """Records the messages of one connection: those that are sent, and when they are delivered."""

    def __init__(self, proxy: RecordingProxy, client_port: int) -> None:
        self._proxy = proxy
        self._client_port = client_port
        self._sent = _Links("target")
        self._delivered = _Links("source")

    def read_request(self, data: bytes) -> None:
        """Read the next bytes of the client."""
        for entity, name in self._sent.feed(data):
            call = Call(
                service=BUS,
                what=f"send {name} to {entity}",
                client_port=self._client_port,
                began=time.perf_counter(),
            )
            self._proxy.calls.append(call)

    def read_answer(self, data: bytes) -> None:
        """Read the next bytes of the broker."""
        for entity, name in self._delivered.feed(data):
            for call in self._proxy.calls:
                if call.ended is None and call.what == f"send {name} to {entity}":
                    call.ended = time.perf_counter()
                    break


class _Links:
    """Finds the messages in the frames of one direction: entity and type of each.

    A client says at the `target` of its link what it sends to, a broker at the `source` of its link
    what it delivers from.
    """

    def __init__(self, end: Literal["source", "target"]) -> None:
        self._end = end
        self._frames = FrameReader(max_frame_size=LARGEST_FRAME)
        self._entities: dict[tuple[int, int], str] = {}
        self._unfinished: set[tuple[int, int]] = set()

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        """Read the next bytes; return the messages that begin in them."""
        found = []
        for frame in self._frames.feed(data):
            if not isinstance(frame, Frame):
                continue
            part = frame.performative
            if isinstance(part, Attach):
                entity = "" if part.role else _find_entity(getattr(part, self._end))
                self._entities[frame.channel, part.handle] = entity
            elif isinstance(part, Transfer):
                link = (frame.channel, part.handle)
                entity = self._entities.get(link, "")
                is_message = entity != "" and not entity.endswith(BROKER_NODES)
                if is_message and link not in self._unfinished:
                    said = _TYPE.search(frame.payload)
                    found.append((entity, said[1].decode() if said else "?"))
                (self._unfinished.add if part.more else self._unfinished.discard)(link)
        return found


def _find_entity(end: object) -> str:
    """Return the entity at the end of a link, without the address of the namespace."""
    address = end.address if isinstance(end, Source | Target) else None
    if not isinstance(address, str):
        return ""
    return re.sub(r"^amqps?://[^/]*/", "", address).strip("/")


def describe_table_call(method: str, path: str, body: bytes) -> str:
    """Return what a call of the table service does, with the kinds of its rows."""
    resource = unquote(path.partition("?")[0]).strip("/").partition("/")[2]
    if resource == "$batch":
        return _describe_batch(body)
    if method == "GET" and resource.endswith("()"):
        rows = _ROW.search(parse_qs(path.partition("?")[2]).get("$filter", [""])[0])
        begins = f" from {_ID.sub('<id>', rows[1])}" if rows and ":" in rows[1] else ""
        return f"{QUERY} {resource[:-2]}{begins}"
    return f"{VERBS[method]} {_name_row(resource, body)}"


def describe_call(method: str, path: str, body: bytes) -> str:
    """Return what a call of the blob or queue service does."""
    resource = unquote(path.partition("?")[0]).strip("/").partition("/")[2]
    return f"{method} {_ID.sub('<id>', resource)}"


def _describe_batch(body: bytes) -> str:
    """Return the rows of a transaction, by what happens to them: equal kinds once, with their
    number."""
    found: dict[str, Counter[str]] = {}
    starts = list(_OPERATION.finditer(body))
    for operation, following in zip(starts, [*starts[1:], None], strict=True):
        end = following.start() if following else len(body)
        url = unquote(operation[2].decode()).partition("?")[0]
        resource = url.split("://", 1)[1].split("/", 2)[2]
        name = _name_row(resource, body[operation.end() : end])
        found.setdefault(VERBS[operation[1].decode()], Counter())[name] += 1
    return "; ".join(
        f"{verb} "
        + ", ".join(name if count == 1 else f"{count} {name}" for name, count in rows.items())
        for verb, rows in found.items()
    )


def _name_row(resource: str, body: bytes) -> str:
    """Return the kind of the row that a resource or the body of an insertion names."""
    if entity := _ENTITY.match(resource):
        table, *keys = (part.replace("''", "'") for part in entity.groups())
    else:
        table = resource
        matches = [pattern.search(body.decode()) for pattern in _KEYS.values()]
        keys = [json.loads(match[1]) for match in matches if match]
    try:
        return find_row_kind(table, *keys).name
    except (KeyError, TypeError):
        return table
