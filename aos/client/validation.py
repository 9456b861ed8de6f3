"""Checks card files for `aos validate`. Entry point: `check_files`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aos.domain.cards.policy import CardPolicy
from aos.errors import ConfigurationError
from aos.services.card_files import FileReport, validate_path
from aos.settings import Settings

_OF_CARDS = re.compile(
    r"AOS_(MODELS?|MCP_ALLOWED|MCP_ENV_ALLOWED|MCP_HOSTS|KEY_VAULT_URI|REPLY_TO|WEBHOOK_HOSTS"
    r"|MAX_\w+|\w+_TIMEOUT_SECONDS)$"
)


def check_files(paths: Iterable[Path], *, environ: Mapping[str, str]) -> list[FileReport]:
    """Return a report on every card file.

    Raises ConfigurationError if there is nothing to check or a file is not readable.
    """
    policy = read_card_policy(environ)
    reports: list[FileReport] = []
    for path in paths:
        try:
            found = validate_path(path, policy=policy)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(f"{str(path)!r} cannot be read: {reason}") from error
        if not found:
            raise ConfigurationError(f"there is no .json file in {str(path)!r}")
        reports += found
    return reports


def read_card_policy(environ: Mapping[str, str]) -> CardPolicy:
    """Read what these settings allow cards to contain, as main does. Raises ConfigurationError.

    The secret that signs webhooks is not asked for: who checks cards need not have it.
    """
    of_cards = {name: value for name, value in environ.items() if _OF_CARDS.match(name)}
    of_laptop = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
    return replace(Settings.read(of_cards | of_laptop).card_policy, signs_webhooks=True)


def make_row(report: FileReport) -> dict[str, Any]:
    """Return the path, the id and the status of a file."""
    return {"file": str(report.path), report.kind.id_field: report.card_id, **report.status}
