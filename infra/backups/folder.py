"""How does a backup lie on disk?

manifest.json           what is in it, with the SHA-256 of every file; written last, so that a
                        folder without one is a backup that did not end
blobs/<container>/…     the blobs under their own names, so that cards can be read and compared
blobs.jsonl             name, file, type and metadata of each
tables/<table>.jsonl    one row a line, with the types of its properties
secrets-backup.json     the secrets, encrypted
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backups.errors import USAGE, BackupError

MANIFEST = "manifest.json"
VERSION = 1
_LONGEST_PART = 200
_CHUNK = 1 << 20


def make(folder: Path) -> Path:
    """A new folder that only its owner may read. Raises BackupError if something is in it."""
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty: a backup is never written over", code=USAGE)
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    return folder


def file_of(name: str) -> str:
    """Where a blob lies under its container: readable, and never outside of it."""
    parts = [quote(part, safe=" !@#$&()+,;=~'{}[]") for part in name.split("/")]
    if any(not part.strip(".") or len(part) > _LONGEST_PART for part in parts):
        return f"_/{hashlib.sha256(name.encode()).hexdigest()}"
    return "/".join(parts)


def finish(folder: Path, facts: dict[str, Any]) -> None:
    """Write the manifest: the facts, and what every file must be."""
    document = {"version": VERSION, **facts, "files": _digests(folder)}
    write(folder / MANIFEST, json.dumps(document, indent=2) + "\n")


def check(folder: Path) -> dict[str, Any]:
    """The manifest, once every file is what it says. Raises BackupError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BackupError(f"{folder} holds no {MANIFEST}: it is no backup, or one that did not end")
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if manifest.get("version") != VERSION:
        raise BackupError(f"{path} is of version {manifest.get('version')}, this reads {VERSION}")
    there, wanted = _digests(folder), manifest["files"]
    wrong = sorted(name for name in wanted.keys() | there if wanted.get(name) != there.get(name))
    if wrong:
        raise BackupError(f"not as they were saved: {', '.join(wrong[:5])} ({len(wrong)} files)")
    return manifest


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """One JSON object a line, as they come; how many they were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        os.chmod(path, 0o600)
        for row in rows:
            file.write(json.dumps(row, sort_keys=True) + "\n")
            count += 1
    return count


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            whole = hashlib.sha256()
            with path.open("rb") as file:
                while data := file.read(_CHUNK):
                    whole.update(data)
            found[name] = whole.hexdigest()
    return found
