"""How does a staged package become a zip that is the same every time, and how big is it?"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from packages.stage import contents, mode_of

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can name
_UNIX = 3


def digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files: equal packages, equal digests."""
    whole = hashlib.sha256()
    for name in contents(folder):
        data = (folder / name).read_bytes()
        whole.update(f"{name.as_posix()}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()


def size(folder: Path) -> int:
    """Bytes of all files together."""
    return sum((folder / name).stat().st_size for name in contents(folder))


def make_zip(folder: Path, target: Path) -> None:
    """Write the package to `target`: sorted, no times, no owners. host.json is at the root."""
    target.unlink(missing_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in contents(folder):
            entry = zipfile.ZipInfo(name.as_posix(), _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = (0o100000 | mode_of(folder / name)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
