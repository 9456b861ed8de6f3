"""How are the blobs of the state saved and brought back?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backups.change import Change, compare
from backups.folder import file_of, read_lines, write_lines

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

CONTAINERS = ("aos-data", "aos-config")
"""In the order of a restore: what rows refer to first, cards, which wake agents, last."""
LOGS = "aos-logs"
LIST = "blobs.jsonl"
FOLDER = "blobs"
_CHUNK = 1 << 20


def save(service: BlobServiceClient, folder: Path, containers: tuple[str, ...]) -> dict[str, int]:
    """Save the blobs; how many each container had. A blob that goes away meanwhile is left out."""
    rows: list[dict[str, Any]] = []
    counts = {}
    for container in containers:
        found = _saved(service, folder, container)
        counts[container] = len(found)
        rows += found
    write_lines(folder / LIST, rows)
    return counts


def plan(service: BlobServiceClient, folder: Path, container: str) -> Change:
    """What a restore of a container would do."""
    saved = {row["name"]: row["sha256"] for row in _rows(folder, container)}
    there: dict[str, str] = {}
    client = service.get_container_client(container)
    if client.exists():
        for item in client.list_blobs():
            name = str(item.name)
            there[name] = _digest(client.get_blob_client(name)) if name in saved else ""
    return compare(container, saved, there)


def restore(service: BlobServiceClient, folder: Path, change: Change) -> int:
    """Write what is new and what differs; how many blobs that were."""
    from azure.storage.blob import ContentSettings

    client = service.get_container_client(change.what)
    if not client.exists():
        client.create_container()
    wanted = {*change.create, *change.differ}
    for row in _rows(folder, change.what):
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


def _rows(folder: Path, container: str) -> list[dict[str, Any]]:
    return [row for row in read_lines(folder / LIST) if row["container"] == container]


def _saved(service: BlobServiceClient, folder: Path, container: str) -> list[dict[str, Any]]:
    from azure.core.exceptions import ResourceNotFoundError

    rows = []
    client = service.get_container_client(container)
    for item in client.list_blobs(include=["metadata"]):
        name = str(item.name)
        path = folder / FOLDER / container / file_of(name)
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
                "file": file_of(name),
                "size": size,
                "sha256": whole.hexdigest(),
                "content_type": stream.properties.content_settings.content_type,
                "metadata": dict(stream.properties.metadata or {}),
            }
        )
    return rows


def _digest(blob: Any) -> str:
    whole = hashlib.sha256()
    for data in blob.download_blob().chunks():
        whole.update(data)
    return whole.hexdigest()
