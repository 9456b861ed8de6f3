"""How are secrets kept in a file that may be copied anywhere?

AES-256-GCM under a key that scrypt makes of a passphrase. The parameters lie beside the text, so
that a later version can be dearer and still read this one.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from backups.errors import USAGE, BackupError

PASSPHRASE = "AOS_BACKUP_PASSPHRASE"
SHORTEST = 12
_COST = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MiB and a tenth of a second
_COSTLIEST = 1 << 20
_ABOUT = b"aos secrets-backup 1"


def passphrase() -> str:
    """The passphrase of the environment. Raises BackupError when there is none worth the name."""
    given = os.environ.get(PASSPHRASE, "")
    if len(given) < SHORTEST:
        raise BackupError(
            f"secrets are kept encrypted only: set {PASSPHRASE} ({SHORTEST} characters or more),"
            " or leave them out with --without secrets",
            code=USAGE,
        )
    return given


def seal(document: dict[str, Any], secret: str) -> str:
    """The document as an encrypted JSON text."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(16), os.urandom(12)
    plain = json.dumps(document).encode()
    sealed = {
        "version": 1,
        "kdf": {"name": "scrypt", "salt": _text(salt), **_COST},
        "cipher": {"name": "AES-256-GCM", "nonce": _text(nonce)},
        "text": _text(AESGCM(_key(secret, salt, _COST)).encrypt(nonce, plain, _ABOUT)),
    }
    return json.dumps(sealed, indent=2) + "\n"


def unseal(text: str, secret: str) -> dict[str, Any]:
    """The document again. Raises BackupError for another passphrase or a changed file."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        sealed = json.loads(text)
        cost = {name: int(sealed["kdf"][name]) for name in _COST}
        salt, nonce = _bytes(sealed["kdf"]["salt"]), _bytes(sealed["cipher"]["nonce"])
        hidden = _bytes(sealed["text"])
    except (KeyError, TypeError, ValueError) as error:
        raise BackupError("secrets-backup.json is not of backup.py") from error
    if sealed.get("version") != 1 or max(cost.values()) > _COSTLIEST:
        raise BackupError("secrets-backup.json is of a version that this one cannot read")
    try:
        plain = AESGCM(_key(secret, salt, cost)).decrypt(nonce, hidden, _ABOUT)
    except InvalidTag as error:
        raise BackupError(
            f"secrets-backup.json does not open with this {PASSPHRASE}", code=USAGE
        ) from error
    document: dict[str, Any] = json.loads(plain)
    return document


def _key(secret: str, salt: bytes, cost: dict[str, int]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return bytes(Scrypt(salt=salt, length=32, **cost).derive(secret.encode()))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
