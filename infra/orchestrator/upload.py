"""Copies the audit folder to the deployment's storage. Entry points: `take_token`, `upload`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.kit import Kit

_STORAGE = "https://storage.azure.com/.default"
"""The scope that `az storage --auth-mode login` asks for: its token is kept under this name."""


def take_token(kit: Kit) -> None:
    """Let az get and keep the token that `upload` needs; failing only warns.

    A pipeline's federated login proves itself by a token that lasts minutes. After a long
    deployment az can use the tokens that it has, for an hour at least, but cannot get another.
    """
    answer = kit.az.ask("account", "get-access-token", "--scope", _STORAGE, "-o", "none")
    if not answer.ok:
        kit.voice.warn(f"the audit folder may not be copied: {answer.err.strip()[:300]}")


def upload(kit: Kit, outputs: Mapping[str, Any]) -> None:
    """Copy the audit folder to a folder of this run in aos-logs/audit; failing only warns.

    A pipeline starts every run with an empty audit folder, so that a common place would lose the
    database of the run before.
    """
    account = str(outputs.get("storageAccountName") or "")
    if not account:
        kit.voice.warn("the audit folder was not copied: the deployment names no storage account")
        return
    place = f"audit/{kit.journal.record['deployment_id']}"
    answer = kit.az.ask(
        *("storage", "blob", "upload-batch", "--account-name", account),
        *("--destination", "aos-logs", "--destination-path", place),
        *("--source", str(kit.journal.folder), "--auth-mode", "login", "--overwrite", "-o", "none"),
    )
    if answer.ok:
        kit.voice.item(f"audit folder copied to {account}/aos-logs/{place}")
    else:
        kit.voice.warn(f"the audit folder was not copied: {answer.err.strip()[:300]}")
