"""Where is the audit folder copied, so that it survives this machine?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.kit import Kit


def upload(kit: Kit, outputs: Mapping[str, Any]) -> None:
    """Copy the audit folder to aos-logs/audit of the deployment; failing only warns."""
    account = str(outputs.get("storageAccountName") or "")
    if not account:
        kit.voice.warn("the audit folder was not copied: the deployment names no storage account")
        return
    answer = kit.az.ask(
        *("storage", "blob", "upload-batch", "--account-name", account),
        *("--destination", "aos-logs", "--destination-path", "audit"),
        *("--source", str(kit.journal.folder), "--auth-mode", "login", "--overwrite", "-o", "none"),
    )
    if answer.ok:
        kit.voice.item(f"audit folder copied to {account}/aos-logs/audit")
    else:
        kit.voice.warn(f"the audit folder was not copied: {answer.err.strip()[:300]}")
