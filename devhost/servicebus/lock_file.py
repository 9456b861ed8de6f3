"""Notes which messages are locked, so that the next process can count the delivery. Entry point:
`LockFile`.

The file is mapped into memory: what was written survives a `kill -9`, and a note costs about a
microsecond. In the database it would be a commit of its own for each message. A full disk may cut
the file within a slot: the rest of that slot is removed at the next start.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import IO

_SLOT = struct.Struct("<Q")
_SLOTS = 4_096
_FREE = 0


class LockFile:
    """The keys of the locked messages, each in a slot of the file. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self.cut_bytes = 0
        """Bytes at the end of the file that were not a whole slot, and were removed."""
        self._map = self._open_map()

    @property
    def keys(self) -> frozenset[int]:
        """The messages that are locked."""
        return frozenset(self._slots)

    def add(self, key: int) -> None:
        """Note that a message is locked. Noting it again changes nothing."""
        if key not in self._slots:
            if not self._free:
                grown = self._open_map()
                self._map.close()  # not before: a full disk leaves this map in use
                self._map = grown
            slot = self._slots[key] = self._free.pop()
            _SLOT.pack_into(self._map, slot * _SLOT.size, key)

    def drop(self, key: int) -> None:
        """Note that a message is not locked."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            _SLOT.pack_into(self._map, slot * _SLOT.size, _FREE)
            self._free.append(slot)

    def close(self) -> None:
        """Close the file; the notes stay."""
        self._map.close()

    def _open_map(self) -> mmap.mmap:
        """Map the file, with free slots at its end, and read what it notes."""
        with self._path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            rest = size % _SLOT.size
            if rest:
                size = file.truncate(size - rest)
                self.cut_bytes += rest
            if len(self._slots) == size // _SLOT.size:
                _grow(file, size)
            mapped = mmap.mmap(file.fileno(), 0)
        for slot, (key,) in enumerate(_SLOT.iter_unpack(mapped)):
            if key == _FREE:
                self._free.append(slot)
            else:
                self._slots[key] = slot
        return mapped


def _grow(file: IO[bytes], size: int) -> None:
    """Add free slots to the file. A full disk refuses it here, and the file stays as it was."""
    left = _SLOTS * _SLOT.size
    try:
        while left:
            left -= file.write(bytes(left))
    except OSError:
        file.truncate(size)
        raise
