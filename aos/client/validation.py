"""What does `aos validate` say about card files?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aos.domain.card import CardPolicy
from aos.errors import ConfigurationError
from aos.services.card_files import FileReport, validate_path


def check_files(paths: Iterable[Path], *, environ: Mapping[str, str]) -> list[FileReport]:
    """A report on every card file. ConfigurationError: nothing to check, or not readable."""
    policy = _policy(environ)
    reports: list[FileReport] = []
    for path in paths:
        try:
            found = validate_path(path, policy=policy)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(f"{str(path)!r} cannot be read: {reason}") from error
        if not found:
            raise ConfigurationError(f"no .json file under {str(path)!r}")
        reports += found
    return reports


def _policy(environ: Mapping[str, str]) -> CardPolicy:
    """What the operator allows cards to say, as far as cards can be checked without the apps."""
    models = _words(environ.get("AOS_MODELS") or environ.get("AOS_MODEL") or "", ",")
    allowed = environ.get("AOS_MCP_ALLOWED")
    policy = CardPolicy(
        allowed_models=frozenset(models) or None,
        key_vault_uri=environ.get("AOS_KEY_VAULT_URI") or None,
    )
    return policy if allowed is None else replace(policy, mcp_allowed=_words(allowed, ";"))


def _words(text: str, separator: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(separator) if word.strip())


def reports_as_json(reports: Sequence[FileReport]) -> str:
    """A list with the path and the status of each file."""
    rows: list[dict[str, Any]] = [
        {"file": str(report.path), report.kind.id_field: report.card_id, **report.status}
        for report in reports
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def reports_as_text(reports: Sequence[FileReport]) -> str:
    """For people: a line a file, and below it a line for each problem."""
    lines: list[str] = []
    for report in reports:
        lines.append(f"{report.path}: {report.status['state']}")
        for name in ("errors", "warnings"):
            lines += [
                f"  {name.removesuffix('s')} at {p['path']}: {p['message']}; {p['hint']}"
                for p in report.status[name]
            ]
    return "\n".join(lines)
