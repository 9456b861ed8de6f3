"""Adds files to a message as its parts. Entry point: `attach_files`."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aos.errors import ConfigurationError

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".json": "application/json",
    ".pdf": "application/pdf",
}
"""The files that AOS takes, by the end of their names."""


def attach_files(
    message: str | list[dict[str, Any]], files: Sequence[str | os.PathLike[str]]
) -> str | list[dict[str, Any]]:
    """Return the message with the files after it. Without files it stays unchanged.

    Raises ConfigurationError for a file that cannot be read or has another type.
    """
    if not files:
        return message
    first = [{"type": "text", "text": message}] if isinstance(message, str) else message
    return [*first, *(_read_part(Path(file)) for file in files)]


def _read_part(file: Path) -> dict[str, Any]:
    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None:
        raise ConfigurationError(
            f"AOS does not take the file {str(file)!r}; its name must end in"
            f" {', '.join(MEDIA_TYPES)}"
        )
    try:
        data = base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{str(file)!r} cannot be read: {reason}") from error
    if media_type.startswith("image/"):
        return {"type": "image", "media_type": media_type, "data": data}
    return {"type": "file", "name": file.name, "media_type": media_type, "data": data}
