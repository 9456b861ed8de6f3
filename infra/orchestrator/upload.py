"""Where is the audit folder copied, so that it survives this machine?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.kit import Kit


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
