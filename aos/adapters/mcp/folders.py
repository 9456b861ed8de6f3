"""Makes and removes the folders of an MCP server. Entry points: `make`, `remove`.

It uses the standard library only and imports nothing of AOS, because the guard runs without
site-packages.
"""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False  # importing `typing` would cost each start of a server 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def make(spec: Mapping[str, Any], uid: int | None) -> None:
    """Make the server's home and temporary folder, which no other user can read."""
    home, temporary = spec["home"], spec["temporary"]
    owner = os.geteuid() if uid is None else uid
    if home and os.path.isdir(home) and os.stat(home).st_uid != owner:
        _remove(home)  # the folder belonged to another user before the isolation setting changed
    for place in (home, temporary):
        if place:
            os.makedirs(place, mode=0o700, exist_ok=True)
            if uid is not None:
                os.chown(place, uid, uid)


def remove(spec: Mapping[str, Any]) -> None:
    """Remove the temporary folder, and the home if it has grown over its limit."""
    if spec["temporary"]:
        _remove(spec["temporary"])
    if spec["home"] and _size(spec["home"]) > spec["limits"]["home"]:
        _remove(spec["home"])


def _remove(folder: str) -> None:
    import shutil  # importing it costs each start of a server, and most starts do not need it

    shutil.rmtree(folder, ignore_errors=True)


def _size(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
    return total
