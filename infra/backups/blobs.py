"""Saves and restores the blobs of the state. Entry points: `save`, `plan`, `restore`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.backups.backup_folder import path_of_blob, read_lines, write_lines
from infra.backups.comparison import Change, compare

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

CONTAINERS = ("aos-data", "aos-config")
"""In the order of a restore: aos-data, which rows refer to, first; the cards, which start agents,
last."""
LOGS = "aos-logs"
LIST = "blobs.jsonl"
FOLDER = "blobs"
_CHUNK = 1 << 20


def save(service: BlobServiceClient, folder: Path, containers: tuple[str, ...]) -> dict[str, int]:
    """Save the blobs and return the count for each container. Skips blobs deleted meanwhile."""
    rows: list[dict[str, Any]] = []
    counts = {}
    for container in containers:
        found = _save_container(service, folder, container)
        counts[container] = len(found)
        rows += found
    write_lines(folder / LIST, rows)
    return counts


def plan(service: BlobServiceClient, folder: Path, container: str) -> Change:
    """Compare a container with the backup."""
    saved = {row["name"]: row["sha256"] for row in _read_rows(folder, container)}
    there: dict[str, str] = {}
    client = service.get_container_client(container)
    if client.exists():
        for item in client.list_blobs():
            name = str(item.name)
            there[name] = _hash_blob(client.get_blob_client(name)) if name in saved else ""
    return compare(container, saved, there)


def restore(service: BlobServiceClient, folder: Path, change: Change) -> int:
    """Write the blobs that are new or differ, and return their count."""
    from azure.storage.blob import ContentSettings

    client = service.get_container_client(change.what)
    if not client.exists():
        client.create_container()
    wanted = {*change.create, *change.differ}
    for row in _read_rows(folder, change.what):
        if row["name"] in wanted:
            with (folder / FOLDER / change.what / row["file"]).open("rb") as data:
                client.upload_blob(
                    row["name"],
                    data,
                    overwrite=True,
                    metadata=row["metadata"] or None,
                    content_settings=ContentSettings(content_type=row["content_type"]),
                )
    return len(wanted)


def _read_rows(folder: Path, container: str) -> list[dict[str, Any]]:
    return [row for row in read_lines(folder / LIST) if row["container"] == container]


def _save_container(
    service: BlobServiceClient, folder: Path, container: str
) -> list[dict[str, Any]]:
    from azure.core.exceptions import ResourceNotFoundError

    rows = []
    client = service.get_container_client(container)
    for item in client.list_blobs(include=["metadata"]):
        name = str(item.name)
        path = folder / FOLDER / container / path_of_blob(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole, size = hashlib.sha256(), 0
        try:
            stream = client.download_blob(name)
        except ResourceNotFoundError:
            continue
        with path.open("wb") as file:
            for data in stream.chunks():
                file.write(data)
                whole.update(data)
                size += len(data)
        rows.append(
            {
                "container": container,
                "name": name,
                "file": path_of_blob(name),
                "size": size,
                "sha256": whole.hexdigest(),
                "content_type": stream.properties.content_settings.content_type,
                "metadata": dict(stream.properties.metadata or {}),
            }
        )
    return rows


def _hash_blob(blob: Any) -> str:
    whole = hashlib.sha256()
    for data in blob.download_blob().chunks():
        whole.update(data)
    return whole.hexdigest()
