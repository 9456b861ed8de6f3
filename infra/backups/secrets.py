"""Saves and restores the secrets of the vaults. Entry points: `save`, `plan`, `restore`.

The calls use the login of `az`. The files of `az keyvault secret backup` can only be restored in
the same subscription and geography, so this module reads the values and saves them encrypted. A
value is never on a command line: it is passed in a file that only its owner may read.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from infra.backups.backup_folder import write_private
from infra.backups.comparison import Change, compare
from infra.backups.encryption import decrypt, encrypt
from infra.backups.errors import BackupError
from infra.orchestrator.azure_cli import Az
from infra.orchestrator.azure_errors import classify_answer

FILE = "secrets-backup.json"
OF_THE_TEMPLATE = (
    "ContentShareConnectionString-",
    "ServiceBusConnectionString",
    "StorageConnectionString",
)
"""Secrets that the template writes. They hold keys of resources beside the vault."""
_SAVED_FIELDS = ("value", "contentType", "tags", "enabled", "expires", "notBefore")

Vaults = dict[str, str]
"""The labels `apps` and `mcp`, and the names of their vaults."""
Secrets = dict[str, dict[str, dict[str, Any]]]


def save(az: Az, folder: Path, vaults: Vaults, passphrase: str) -> tuple[dict[str, int], list[str]]:
    """Save the secrets encrypted. Return the count for each vault, and the names not saved."""
    found: Secrets = {}
    left_out = []
    for label, vault in vaults.items():
        found[label] = {}
        for name, listed in _list_secrets(az, vault).items():
            if listed.get("managed") or not listed["attributes"].get("enabled", True):
                left_out.append(f"{vault}/{name}")
                continue
            found[label][name] = _read_secret(az, vault, name)
    write_private(folder / FILE, encrypt({"vaults": vaults, "secrets": found}, passphrase))
    return {label: len(names) for label, names in found.items()}, left_out


def read_saved(folder: Path, passphrase: str) -> tuple[Vaults, Secrets]:
    """Read the vaults of the backup and their secrets. Raises BackupError."""
    document = decrypt((folder / FILE).read_text("utf-8"), passphrase)
    return document["vaults"], document["secrets"]


def plan(az: Az, label: str, vault: str, saved: dict[str, Any], *, same_vault: bool) -> Change:
    """Compare a vault with the backup. Keys of resources of another deployment are left out."""
    foreign = [] if same_vault else [name for name in saved if name.startswith(OF_THE_TEMPLATE)]
    wanted = {name: _make_content(saved[name]) for name in saved if name not in foreign}
    there = {}
    for name, listed in _list_secrets(az, vault).items():
        readable = name in wanted and listed["attributes"].get("enabled", True)
        there[name] = _make_content(_read_secret(az, vault, name)) if readable else ""
    change = compare(f"vault {label} ({vault})", wanted, there)
    change.left_out.extend(sorted(foreign))
    return change


def restore(az: Az, vault: str, saved: dict[str, Any], change: Change) -> int:
    """Set the secrets that are new or differ, and return their count. Raises BackupError."""
    for name in (*change.create, *change.differ):
        _set_secret(az, vault, name, saved[name])
    return len(change.create) + len(change.differ)


def _list_secrets(az: Az, vault: str) -> dict[str, dict[str, Any]]:
    answer = az.run(
        *("keyvault", "secret", "list", "--vault-name", vault),
        *("--include-managed", "true", "-o", "json"),
    )
    if not answer.succeeded:
        raise BackupError(f"the vault {vault} cannot be listed: {classify_answer(answer).reason}")
    return {str(item["name"]): item for item in answer.parse_json()}


def _read_secret(az: Az, vault: str, name: str) -> dict[str, Any]:
    answer = az.run(
        *("keyvault", "secret", "show", "--vault-name", vault, "--name", name, "-o", "json")
    )
    if not answer.succeeded:
        reason = classify_answer(answer).reason
        raise BackupError(f"the secret {name} of {vault} cannot be read: {reason}")
    shown = answer.parse_json()
    flat = {**shown, **(shown.get("attributes") or {})}
    return {field: flat[field] for field in _SAVED_FIELDS if flat.get(field) not in (None, {})}


def _set_secret(az: Az, vault: str, name: str, secret: dict[str, Any]) -> None:
    arguments = ["keyvault", "secret", "set", "--vault-name", vault, "--name", name]
    if secret.get("contentType"):
        arguments += ["--content-type", secret["contentType"]]
    for option, field in (("--expires", "expires"), ("--not-before", "notBefore")):
        if secret.get(field):
            arguments += [option, _format_time(secret[field])]
    tags = {k: v for k, v in (secret.get("tags") or {}).items() if k != "file-encoding"}
    if tags:
        arguments += ["--tags", *(f"{tag}={value}" for tag, value in tags.items())]
    with tempfile.TemporaryDirectory(prefix="aos-secret-") as private:
        os.chmod(private, 0o700)
        file = Path(private, "value")
        file.touch(mode=0o600)
        file.write_bytes(secret["value"].encode())
        answer = az.run(*arguments, "--file", str(file), "--encoding", "utf-8", "-o", "none")
    if not answer.succeeded:
        raise BackupError(
            f"the secret {name} cannot be set in {vault}: {classify_answer(answer).reason}"
            " (a deleted secret must be recovered first: az keyvault secret recover)"
        )


def _format_time(text: str) -> str:
    """Convert 2027-01-01T00:00:00+00:00 to the form that az accepts."""
    return text[:19] + "Z"


def _make_content(secret: dict[str, Any]) -> str:
    return json.dumps({name: secret.get(name) for name in ("value", "contentType")})
