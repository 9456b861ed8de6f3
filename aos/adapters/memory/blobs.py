"""Keeps a blob container in memory. Entry point: `MemoryBlobStore`.

It implements `aos.ports.blobs.BlobStore` with the ETags, conditions and errors of Azure Storage.
Time comes from the given clock. `hook` is awaited before and after each operation takes effect, so
that a test can delay it, make it fail, or let it take effect although the caller gets an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Literal, TypeAlias

from aos.errors import StaleWrite
from aos.ports.blobs import Blob, BlobInfo, BlobMissing, Unchanged
from aos.ports.system import Clock

Operation: TypeAlias = Literal["list", "read", "write", "delete"]
Moment: TypeAlias = Literal["before", "after"]
Hook: TypeAlias = Callable[[Operation, str, Moment], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    body: bytes
    etag: str
    last_modified: datetime


async def _do_nothing(operation: Operation, name: str, moment: Moment) -> None:
    return None


@dataclass(slots=True, kw_only=True)
class MemoryBlobStore:
    """One container in memory. `calls` counts the operations by kind."""

    clock: Clock
    hook: Hook = _do_nothing
    calls: dict[str, int] = field(default_factory=dict)
    _blobs: dict[str, _Kept] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def reached_by(self, clock: Clock, hook: Hook) -> MemoryBlobStore:
        """The same container as another process reaches it, with a clock and a hook of its own."""
        return MemoryBlobStore(clock=clock, hook=hook, _blobs=self._blobs, _numbers=self._numbers)

    def body_of(self, name: str) -> bytes:
        """The body of a blob, without the hook and not counted. Raises KeyError."""
        return self._blobs[name].body

    async def list(self, prefix: str) -> list[BlobInfo]:
        """List all blobs whose name begins with `prefix`, ordered by name."""
        await self._count_call("list", prefix)
        found = [
            BlobInfo(name=n, etag=k.etag, size=len(k.body), last_modified=k.last_modified)
            for n, k in sorted(self._blobs.items())
            if n.startswith(prefix)
        ]
        await self.hook("list", prefix, "after")
        return found

    async def read(self, name: str, *, max_bytes: int | None = None) -> Blob:
        """Read the blob, or its first `max_bytes` bytes. Raises BlobMissing."""
        await self._count_call("read", name)
        kept = self._blobs.get(name)
        await self.hook("read", name, "after")
        if kept is None:
            raise BlobMissing(name)
        return Blob(name=name, etag=kept.etag, body=kept.body[:max_bytes])

    async def read_if_changed(self, name: str, *, etag: str) -> Blob | Unchanged:
        """Read the blob, or return Unchanged if its ETag is still `etag`. Raises BlobMissing."""
        blob = await self.read(name)
        return Unchanged() if blob.etag == etag else blob

    async def write(
        self, name: str, body: bytes, *, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write the whole blob and return its new ETag. Raises StaleWrite if a condition did not
        hold."""
        await self._count_call("write", name)
        if create_only and name in self._blobs:
            raise StaleWrite(f"blob {name!r} exists already")
        self._check(name, if_match)
        etag = f'"0x{next(self._numbers):016X}"'
        self._blobs[name] = _Kept(body=bytes(body), etag=etag, last_modified=self.clock.now())
        await self.hook("write", name, "after")
        return etag

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete the blob. Does nothing if it does not exist."""
        await self._count_call("delete", name)
        if name in self._blobs:
            self._check(name, if_match)
            del self._blobs[name]
        await self.hook("delete", name, "after")

    async def _count_call(self, operation: Operation, name: str) -> None:
        self.calls[operation] = self.calls.get(operation, 0) + 1
        await self.hook(operation, name, "before")

    def _check(self, name: str, if_match: str | None) -> None:
        if if_match is None:
            return
        kept = self._blobs.get(name)
        if kept is None or kept.etag != if_match:
            raise StaleWrite(f"blob {name!r} no longer has the ETag {if_match}")
