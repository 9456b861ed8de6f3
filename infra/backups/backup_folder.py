"""Reads and writes the folder of a backup. Entry points: `make_folder`, `check_folder`.

manifest.json           the SHA-256 of every file; written last, so a folder without it is an
                        incomplete backup
blobs/<container>/…     the blobs under their own names, so that people can read the cards
blobs.jsonl             name, file, type and metadata of each blob
tables/<table>.jsonl    one row on each line, with the types of its properties
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

from infra.backups.errors import USAGE, BackupError

MANIFEST = "manifest.json"
VERSION = 1
_LONGEST_PART = 200
_CHUNK = 1 << 20


def make_folder(folder: Path) -> Path:
    """Make a folder that only its owner may read. Raises BackupError when it is not empty."""
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(
            f"{folder} is not empty, and a backup is never overwritten; name a new folder",
            code=USAGE,
        )
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    return folder


def path_of_blob(name: str) -> str:
    """Return the path of a blob's file, relative to the folder of its container."""
    parts = [quote(part, safe=" !@#$&()+,;=~'{}[]") for part in name.split("/")]
    if any(not part.strip(".") or len(part) > _LONGEST_PART for part in parts):
        return f"_/{hashlib.sha256(name.encode()).hexdigest()}"
    return "/".join(parts)


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write the manifest: the facts, and the hash of every file."""
    document = {"version": VERSION, **facts, "files": _hash_files(folder)}
    write_private(folder / MANIFEST, json.dumps(document, indent=2) + "\n")


def check_folder(folder: Path) -> dict[str, Any]:
    """Check the hash of every file and return the manifest. Raises BackupError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BackupError(f"{folder} has no {MANIFEST}: it is not a backup, or it is incomplete")
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if manifest.get("version") != VERSION:
        raise BackupError(
            f"{path} has version {manifest.get('version')}; this backup.py reads version {VERSION}"
        )
    there, wanted = _hash_files(folder), manifest["files"]
    wrong = sorted(name for name in wanted.keys() | there if wanted.get(name) != there.get(name))
    if wrong:
        raise BackupError(f"{len(wrong)} files are missing or changed: {', '.join(wrong[:5])}")
    return manifest


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write one JSON object on each line and return the count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        os.chmod(path, 0o600)
        for row in rows:
            file.write(json.dumps(row, sort_keys=True) + "\n")
            count += 1
    return count


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a file. A missing file has none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _hash_files(folder: Path) -> dict[str, str]:
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
