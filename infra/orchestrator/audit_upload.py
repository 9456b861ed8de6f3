"""Copies the audit folder to the deployment's storage. Entry point: `upload_audit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.orchestrator.run_context import RunContext

_STORAGE = "https://storage.azure.com/.default"
"""The scope that `az storage --auth-mode login` uses. az caches tokens by scope."""


def get_storage_token(context: RunContext) -> None:
    """Make az cache the token that `upload_audit` needs. A failure is only a warning.

    In a pipeline the federated login is proved by a token that is valid for some minutes. After a
    long deployment az can use the tokens in its cache, but it cannot get new ones.
    """
    answer = context.az.run("account", "get-access-token", "--scope", _STORAGE, "-o", "none")
    if not answer.succeeded:
        context.console.warn(f"the upload of the audit folder may fail: {answer.err.strip()[:300]}")


def upload_audit(context: RunContext, outputs: Mapping[str, Any]) -> None:
    """Copy the audit folder to aos-logs/audit/<deployment id>. A failure is only a warning.

    Each run has a folder of its own, because a pipeline starts every run with an empty audit
    folder: in a common folder its database would replace that of the run before.
    """
    account = str(outputs.get("storageAccountName") or "")
    if not account:
        context.console.warn(
            "the audit folder was not copied: the deployment has no output storageAccountName"
        )
        return
    target = f"audit/{context.journal.record['deployment_id']}"
    answer = context.az.run(
        *("storage", "blob", "upload-batch", "--account-name", account),
        *("--destination", "aos-logs", "--destination-path", target),
        *("--source", str(context.journal.folder)),
        *("--auth-mode", "login", "--overwrite", "-o", "none"),
    )
    if answer.succeeded:
        context.console.write_item(f"audit folder copied to {account}/aos-logs/{target}")
    else:
        context.console.warn(f"the audit folder was not copied: {answer.err.strip()[:300]}")
