"""Writes the calls of a transaction as one call, and reads its answer. Entry points:
`write_batch`, `read_batch`.

Calls and answers are parts of a multipart body (`multipart/mixed`, OData 3.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from aos.adapters.tables.odata import Answer, Call

_PART = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
_BOUNDARY = re.compile(rb'boundary="?([^\s";]+)')
_BLANK = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.[01] (\d{3}) ?(.*)")


class UnreadableBatch(Exception):
    """The answer to a transaction does not say what became of its rows."""


def write_batch(
    calls: Sequence[Call], *, url: str, headers: Mapping[str, str], boundary: str
) -> Call:
    """Write the calls as one. `headers` are those that each call has, `url` the account's."""
    shared = _write_headers(headers)
    outer, inner = f"batch_{boundary}", f"changeset_{boundary}"
    parts = [
        f"--{outer}\r\nContent-Type: multipart/mixed; boundary={inner}\r\n\r\n".encode(),
        *(
            b"%b\r\n%b\r\n" % (_write_head(number, call, inner, url, shared), call.body or b"")
            for number, call in enumerate(calls)
        ),
        f"--{inner}--\r\n\r\n--{outer}--\r\n".encode(),
    ]
    content = {
        "Accept": "application/json",
        "Content-Type": f"multipart/mixed; boundary={outer}",
        "MaxDataServiceVersion": "3.0;NetFx",
    }
    return Call("POST", "/$batch", content, b"".join(parts))


def read_batch(answer: Answer, *, count: int) -> list[Answer]:
    """Return the answer to each of `count` calls, or only that to the call that failed.

    Raises UnreadableBatch.
    """
    outer = _BOUNDARY.search(answer.headers.get("content-type", "").encode("latin-1", "replace"))
    inner = _BOUNDARY.search(answer.body)
    boundary = inner or outer
    pieces = [] if boundary is None else answer.body.split(b"--" + boundary[1])
    if len(pieces) < 3:
        raise UnreadableBatch("it has no parts")
    _, *parts, after = pieces
    answers = [_read_part(part) for part in parts]
    if len(answers) == 1 and not answers[0].is_good:
        return answers
    if len(answers) != count or not all(part.is_good for part in answers):
        raise UnreadableBatch(f"it has {len(answers)} parts for {count} rows")
    if not after.startswith(b"--"):
        raise UnreadableBatch("its end is missing")
    return answers


def _write_head(number: int, call: Call, boundary: str, url: str, shared: str) -> bytes:
    length = "" if call.body is None else f"Content-Length: {len(call.body)}\r\n"
    return (
        f"--{boundary}\r\n{_PART}Content-ID: {number}\r\n\r\n"
        f"{call.method} {url}{call.path} HTTP/1.1\r\n"
        f"{_write_headers(call.headers)}{length}{shared}"
    ).encode()


def _write_headers(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _read_part(part: bytes) -> Answer:
    """Read a part: its own headers, then an answer with headers and perhaps a body."""
    try:
        _, head, body = _BLANK.split(part, maxsplit=2)
    except ValueError as error:
        raise UnreadableBatch("a part of it has no answer") from error
    first, *lines = head.decode("latin-1").splitlines()
    status = _STATUS.fullmatch(first.strip())
    if status is None:
        raise UnreadableBatch(f"a part of it begins with {first[:40]!r}")
    named = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in named}
    return Answer(
        status=int(status[1]), reason=status[2], headers=headers, body=body.strip(b"\r\n")
    )
