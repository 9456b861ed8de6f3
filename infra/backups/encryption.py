"""Encrypts the file of secrets with a passphrase. Entry points: `encrypt`, `decrypt`.

The cipher is AES-256-GCM, and scrypt makes the key from the passphrase. The parameters of scrypt
are in the file, so a later version can raise them and still read this file.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from infra.backups.errors import USAGE, BackupError

PASSPHRASE = "AOS_BACKUP_PASSPHRASE"
SHORTEST = 12
_COST = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MiB and a tenth of a second
_MAX_COST = 1 << 20
_ABOUT = b"aos secrets-backup 1"


def read_passphrase() -> str:
    """Read the passphrase from the environment. Raises BackupError when it is missing or short."""
    given = os.environ.get(PASSPHRASE, "")
    if len(given) < SHORTEST:
        raise BackupError(
            f"secrets are only saved encrypted: set {PASSPHRASE} ({SHORTEST} characters or more),"
            " or pass --without secrets",
            code=USAGE,
        )
    return given


def encrypt(document: dict[str, Any], secret: str) -> str:
    """Encrypt a document. The result is a JSON text."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(16), os.urandom(12)
    plain = json.dumps(document).encode()
    encrypted = {
        "version": 1,
        "kdf": {"name": "scrypt", "salt": _to_base64(salt), **_COST},
        "cipher": {"name": "AES-256-GCM", "nonce": _to_base64(nonce)},
        "text": _to_base64(AESGCM(_derive_key(secret, salt, _COST)).encrypt(nonce, plain, _ABOUT)),
    }
    return json.dumps(encrypted, indent=2) + "\n"


def decrypt(text: str, secret: str) -> dict[str, Any]:
    """Decrypt a document. Raises BackupError for another passphrase or a changed file."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        encrypted = json.loads(text)
        cost = {name: int(encrypted["kdf"][name]) for name in _COST}
        salt, nonce = (
            _from_base64(encrypted["kdf"]["salt"]),
            _from_base64(encrypted["cipher"]["nonce"]),
        )
        hidden = _from_base64(encrypted["text"])
    except (KeyError, TypeError, ValueError) as error:
        raise BackupError("secrets-backup.json was not written by backup.py") from error
    if encrypted.get("version") != 1 or max(cost.values()) > _MAX_COST:
        raise BackupError("secrets-backup.json has a version that this backup.py cannot read")
    try:
        plain = AESGCM(_derive_key(secret, salt, cost)).decrypt(nonce, hidden, _ABOUT)
    except InvalidTag as error:
        raise BackupError(
            f"secrets-backup.json cannot be decrypted with this {PASSPHRASE}", code=USAGE
        ) from error
    document: dict[str, Any] = json.loads(plain)
    return document


def _derive_key(secret: str, salt: bytes, cost: dict[str, int]) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return bytes(Scrypt(salt=salt, length=32, **cost).derive(secret.encode()))


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
