"""How are the secrets of the vaults saved and brought back?

Through `az`, which is logged in as whoever runs this. `az keyvault secret backup` makes files that
only the same subscription and geography can read, so the values are taken, and kept encrypted.
A value never stands on a command line: it goes through a file that only its owner may read.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from orchestrator.az import Az
from orchestrator.failures import failure_of

from backups.change import Change, compare
from backups.errors import BackupError
from backups.folder import write
from backups.sealing import seal, unseal

FILE = "secrets-backup.json"
OF_THE_PLACE = (
    "ContentShareConnectionString-",
    "ServiceBusConnectionString",
    "StorageConnectionString",
)
"""Names that the template writes: they hold keys of the resources beside the vault."""
_KEPT = ("value", "contentType", "tags", "enabled", "expires", "notBefore")

Vaults = dict[str, str]
"""`apps` and `mcp`, and what their vaults are called here."""
Secrets = dict[str, dict[str, dict[str, Any]]]


def save(az: Az, folder: Path, vaults: Vaults, passphrase: str) -> tuple[dict[str, int], list[str]]:
    """Save the secrets encrypted; how many each vault had, and what could not be read."""
    found: Secrets = {}
    left_out = []
    for label, vault in vaults.items():
        found[label] = {}
        for name, listed in _listed(az, vault).items():
            if listed.get("managed") or not listed["attributes"].get("enabled", True):
                left_out.append(f"{vault}/{name}")
                continue
            found[label][name] = _shown(az, vault, name)
    write(folder / FILE, seal({"vaults": vaults, "secrets": found}, passphrase))
    return {label: len(names) for label, names in found.items()}, left_out


def opened(folder: Path, passphrase: str) -> tuple[Vaults, Secrets]:
    """The vaults of the backup and their secrets. Raises BackupError."""
    document = unseal((folder / FILE).read_text("utf-8"), passphrase)
    return document["vaults"], document["secrets"]


def plan(az: Az, label: str, vault: str, saved: dict[str, Any], *, same_vault: bool) -> Change:
    """What a restore into a vault would do. Keys of another place are left out."""
    foreign = [] if same_vault else [name for name in saved if name.startswith(OF_THE_PLACE)]
    wanted = {name: _digest(saved[name]) for name in saved if name not in foreign}
    there = {}
    for name, listed in _listed(az, vault).items():
        readable = name in wanted and listed["attributes"].get("enabled", True)
        there[name] = _digest(_shown(az, vault, name)) if readable else ""
    change = compare(f"vault {label} ({vault})", wanted, there)
    change.left_out.extend(sorted(foreign))
    return change


def restore(az: Az, vault: str, saved: dict[str, Any], change: Change) -> int:
    """Set what is new and what differs; how many secrets that were. Raises BackupError."""
    for name in (*change.create, *change.differ):
        _set(az, vault, name, saved[name])
    return len(change.create) + len(change.differ)


def _listed(az: Az, vault: str) -> dict[str, dict[str, Any]]:
    answer = az.ask(
        *("keyvault", "secret", "list", "--vault-name", vault),
        *("--include-managed", "true", "-o", "json"),
    )
    if not answer.ok:
        raise BackupError(f"the vault {vault} cannot be listed: {failure_of(answer).reason}")
    return {str(item["name"]): item for item in answer.value()}


def _shown(az: Az, vault: str, name: str) -> dict[str, Any]:
    answer = az.ask(
        *("keyvault", "secret", "show", "--vault-name", vault, "--name", name, "-o", "json")
    )
    if not answer.ok:
        reason = failure_of(answer).reason
        raise BackupError(f"the secret {name} of {vault} cannot be read: {reason}")
    shown = answer.value()
    flat = {**shown, **(shown.get("attributes") or {})}
    return {field: flat[field] for field in _KEPT if flat.get(field) not in (None, {})}


def _set(az: Az, vault: str, name: str, secret: dict[str, Any]) -> None:
    arguments = ["keyvault", "secret", "set", "--vault-name", vault, "--name", name]
    if secret.get("contentType"):
        arguments += ["--content-type", secret["contentType"]]
    for option, field in (("--expires", "expires"), ("--not-before", "notBefore")):
        if secret.get(field):
            arguments += [option, _moment(secret[field])]
    tags = {k: v for k, v in (secret.get("tags") or {}).items() if k != "file-encoding"}
    if tags:
        arguments += ["--tags", *(f"{tag}={value}" for tag, value in tags.items())]
    with tempfile.TemporaryDirectory(prefix="aos-secret-") as private:
        os.chmod(private, 0o700)
        file = Path(private, "value")
        file.touch(mode=0o600)
        file.write_bytes(secret["value"].encode())
        answer = az.ask(*arguments, "--file", str(file), "--encoding", "utf-8", "-o", "none")
    if not answer.ok:
        raise BackupError(
            f"the secret {name} cannot be set in {vault}: {failure_of(answer).reason}"
            " (one that was deleted must be recovered first: az keyvault secret recover)"
        )


def _moment(text: str) -> str:
    """`2027-01-01T00:00:00+00:00` as az wants it."""
    return text[:19] + "Z"


def _digest(secret: dict[str, Any]) -> str:
    return json.dumps({name: secret.get(name) for name in ("value", "contentType")})
