"""Which keys open the apps when `AOS_AUTH=keys`?"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

from devhost.errors import LaptopError

KEY_NAMES = ("default", "second", "admin")


def ensure_keys(path: Path) -> dict[str, str]:
    """The keys of the file, which is written with random ones (mode 0600) if it is not there.

    Raises LaptopError if a file is there that does not hold the three keys.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = {name: secrets.token_urlsafe(32) for name in KEY_NAMES}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(keys, file, indent=2)
        return keys
    path.chmod(0o600)
    try:
        keys = json.loads(path.read_text("utf-8"))
        return {name: str(keys[name]) for name in KEY_NAMES if keys[name]}
    except (ValueError, KeyError, TypeError) as error:
        raise LaptopError(
            f'{path} must hold {{"default", "second", "admin"}}; delete it for new keys'
        ) from error


def admin_setting(keys: dict[str, str]) -> str:
    """What `AOS_ADMIN_KEYS` holds: the SHA-256 of the admin key, in hex."""
    return hashlib.sha256(keys["admin"].encode()).hexdigest()
