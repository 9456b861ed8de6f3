"""Writes calls of the table service and reads its answers. Entry points: `insert_row`, `put_row`,
`delete_row`, `get_row`, `query_rows`, `read_row`, `read_page`, `read_code`.

It writes the calls that `azure.data.tables` writes, in less processor time (ADR 0074); a test
compares both. Nothing here sends anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

from aos.domain.json_writer import write_json
from aos.errors import TransientError

Entity: TypeAlias = Mapping[str, Any]
Place: TypeAlias = Mapping[str, str]
"""Where the next page of a query begins, as parameters of the query. Empty after the last page."""
INT64 = "Edm.Int64"
_TYPE = "@odata.type"
_INT32_END = 2**31
_INT64_END = 2**63
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
_READ = {"Accept": "application/json;odata=minimalmetadata"}
_PARAMETER = re.compile(r"(?<!\S)@(\w+)")
_CODE_IN_XML = re.compile(rb"<(?:\w+:)?code>([^<]+)<", re.IGNORECASE)
_NEXT = ("NextPartitionKey", "NextRowKey")
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading an answer raises that is not one of the service."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call: `path` begins after the address of the account."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: of a call, or of one row of a transaction."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By names in lower case."""
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        """Whether the service did what was asked."""
        return 200 <= self.status < 300


class Row(dict[str, Any]):
    """A row that was read, with its ETag."""

    __slots__ = ("etag",)

    def __init__(self, properties: Mapping[str, Any], *, etag: str) -> None:
        super().__init__(properties)
        self.etag = etag


def as_int64(value: int) -> tuple[int, str]:
    """Return a number that may exceed 2^31 as a property of a row to write."""
    return value, INT64


def insert_row(table: str, entity: Entity) -> Call:
    """Insert a row that does not exist."""
    headers = {**_JSON, **_READ, "Prefer": "return-no-content"}
    return Call("POST", f"/{table}", headers, _write_entity(entity))


def put_row(table: str, entity: Entity, *, etag: str | None = None, merge: bool = False) -> Call:
    """Write a row, at an ETag or whatever is there. `merge` keeps properties not in `entity`."""
    headers = _JSON if etag is None else {**_JSON, "If-Match": etag}
    path = _name_row(table, entity["PartitionKey"], entity["RowKey"])
    return Call("PATCH" if merge else "PUT", path, headers, _write_entity(entity))


def delete_row(table: str, partition: str, row: str, *, etag: str | None = None) -> Call:
    """Delete a row, at an ETag or whatever is there."""
    return Call("DELETE", _name_row(table, partition, row), {**_READ, "If-Match": etag or "*"})


def get_row(table: str, partition: str, row: str, *, select: Sequence[str] | None = None) -> Call:
    """Read a row, or only the properties in `select`."""
    chosen = "" if select is None else f"?$select={quote(','.join(select), safe='')}"
    return Call("GET", _name_row(table, partition, row) + chosen, _READ)


def query_rows(
    table: str,
    condition: str,
    parameters: Mapping[str, str],
    *,
    top: int | None = None,
    select: Sequence[str] | None = None,
    start: Place | None = None,
) -> Call:
    """Read the rows that match a condition, from `start` on. `@name` is a parameter."""
    options = {
        "$top": None if top is None else str(top),
        "$select": None if select is None else ",".join(select),
        "$filter": _PARAMETER.sub(lambda name: _quote_text(parameters[name[1]]), condition),
        **(start or {}),
    }
    query = "&".join(
        f"{name}={quote(value, safe='')}" for name, value in options.items() if value is not None
    )
    return Call("GET", f"/{table}()?{query}", _READ)


def read_row(answer: Answer) -> Row:
    """Return the row of an answer. Raises TransientError if it cannot be read."""
    try:
        return _read_entity(json.loads(answer.body), etag=answer.headers.get("etag", ""))
    except _UNREADABLE as error:
        raise _name_unreadable(answer) from error


def read_page(answer: Answer) -> tuple[list[Row], Place]:
    """Return the rows of an answer to a query, and where the next page begins. Raises
    TransientError if it cannot be read."""
    try:
        rows = [_read_entity(entity) for entity in json.loads(answer.body)["value"]]
    except _UNREADABLE as error:
        raise _name_unreadable(answer) from error
    after = {name: answer.headers.get(f"x-ms-continuation-{name.lower()}") for name in _NEXT}
    return rows, {name: value for name, value in after.items() if value}


def read_code(answer: Answer) -> str:
    """Return the service's error code; the reason of the status if it gave none."""
    found, _ = _read_error(answer)
    return found or answer.reason


def read_index(answer: Answer) -> int | None:
    """Return which row of a transaction failed, if the service says so."""
    _, message = _read_error(answer)
    number = message.partition(":")[0]
    return int(number) if number.isdecimal() else None


def _read_error(answer: Answer) -> tuple[str, str]:
    code = answer.headers.get("x-ms-error-code") or ""
    try:
        told = json.loads(answer.body)["odata.error"]
        return code or str(told["code"]), str(told["message"]["value"])
    except _UNREADABLE:
        in_xml = _CODE_IN_XML.search(answer.body)
        return code or (in_xml[1].decode("ascii", "replace") if in_xml else ""), ""


def _name_row(table: str, partition: str, row: str) -> str:
    return f"/{table}(PartitionKey={_quote_key(partition)},RowKey={_quote_key(row)})"


def _quote_key(key: str) -> str:
    doubled = key.replace("'", "''")
    return f"'{quote(doubled, safe='')}'"


def _quote_text(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _write_entity(entity: Entity) -> bytes:
    properties: dict[str, Any] = {}
    for name, value in entity.items():
        kind = type(value)
        if kind is str or kind is bool or (kind is int and -_INT32_END <= value < _INT32_END):
            properties[name] = value
        elif kind is tuple and value[1] == INT64 and -_INT64_END <= value[0] < _INT64_END:
            properties[name] = str(value[0])
            properties[name + _TYPE] = INT64
        elif value is not None:
            raise TypeError(f"property {name!r} of a row cannot be {value!r}; see as_int64")
    return write_json(properties, separators=(",", ":")).encode()


def _read_entity(read: dict[str, Any], *, etag: str = "") -> Row:
    """Return the properties without the service's own; a large number as an int."""
    etag = read.get("odata.etag") or etag
    row = Row({}, etag=etag)
    for name, value in read.items():
        if "odata." not in name:
            row[name] = value
    for name, kind in read.items():
        if kind == INT64 and name.endswith(_TYPE):
            row[name[: -len(_TYPE)]] = int(row[name[: -len(_TYPE)]])
    row.pop("Timestamp", None)
    return row


def _name_unreadable(answer: Answer) -> TransientError:
    return TransientError(
        f"the tables' answer ({answer.status}, {len(answer.body)} bytes) cannot be read"
    )
