"""Makes and reads the function keys for `AOS_AUTH=keys`. Entry point: `ensure_keys`."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

from devhost.errors import LaptopError

KEY_NAMES = ("default", "second", "admin")


def ensure_keys(path: Path) -> dict[str, str]:
    """Read the keys; if the file does not exist, write random ones (mode 0600).

    Raises LaptopError if the file exists without the three keys.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = {name: secrets.token_urlsafe(32) for name in KEY_NAMES}
        written = path.with_name(f"{path.name}.new")  # a full disk leaves no half of the keys
        written.unlink(missing_ok=True)
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(keys, file, indent=2)
        written.rename(path)
        return keys
    path.chmod(0o600)
    try:
        keys = json.loads(path.read_text("utf-8"))
        return {name: str(keys[name]) for name in KEY_NAMES if keys[name]}
    except (ValueError, KeyError, TypeError) as error:
        raise LaptopError(
            f'{path} must contain {{"default", "second", "admin"}}; delete it to get new keys'
        ) from error


def make_key_settings(keys: dict[str, str]) -> dict[str, str]:
    """Return the settings that tell the apps of the keys, by their SHA-256.

    The doors of other protocols take `default` and `admin`. `second` is a key that only the host
    knows, as every key in Azure that nobody has listed.
    """
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}
    return {
        "AOS_KEY_OWNERS": f"default={digests['default']}",
        "AOS_ADMIN_KEYS": digests["admin"],
    }
