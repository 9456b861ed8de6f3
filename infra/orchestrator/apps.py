"""Checks that an app answers as it must. Entry point: `AppChecks.check`.

An app that answers `/api/health` is not yet one that serves: a route that takes everything may
stand before the others. So `/api/status` is asked too: its name sorts late, it needs no key, and
it says which version runs.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.az import Az
from orchestrator.checks import Check, State
from orchestrator.routes import shadows_in

_REQUEST_SECONDS = 15.0
_NOT_OURS = " {}"
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
_CLOSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class AppChecks:
    """Looks at the apps of a group.

    `version` is the one that must run; None: any. `made` names sites that did not stand before:
    without code their host may not run, and then their functions cannot be listed either.
    """

    az: Az
    group: str
    version: str | None
    made: Collection[str] = ()

    def check(self, name: str, url: str) -> Check:
        """No code, or what the app says of itself; `waiting` is whatever may still become well."""
        listed = self.az.ask(
            *("functionapp", "function", "list"),
            *("--resource-group", self.group, "--name", name, "-o", "json"),
        )
        if listed.ok and not listed.value():
            return Check(kind="app", name=name, state="no code")
        state, detail = _health(url)
        if name in self.made and not listed.ok and detail.endswith(_NOT_OURS):
            return Check(kind="app", name=name, state="no code")
        shadows = shadows_in(listed.value()) if listed.ok else ""
        if state == "healthy":
            state, problem = _status(url, self.version)
            detail = problem or detail
        if shadows:
            state, detail = "waiting", f"{detail}; {shadows}" if detail else shadows
        return Check(kind="app", name=name, state=state, detail=detail)


def version_beside(infra: Path) -> str | None:
    """The version of AOS in the repository around infra/; None if there is no such file."""
    try:
        found = _VERSION.search((infra.parent / "aos" / "version.py").read_text("utf-8"))
    except OSError:
        return None
    return found[1] if found else None


def _health(url: str) -> tuple[State, str]:
    try:
        status, body = _get(f"{url}/api/health")
    except (OSError, http.client.HTTPException) as error:
        return "waiting", f"{url} does not answer: {error}"
    if status in _CLOSED:
        detail = f"{url} answers {status}: not to be reached from here (access restrictions?)"
        return "unknown", detail
    said = _said(body)
    if status == 200 and said.get("status") == "healthy":
        return "healthy", "paused" * bool(said.get("paused"))
    return "waiting", f"/api/health answers {status} {json.dumps(said)[:400]}"


def _status(url: str, version: str | None) -> tuple[State, str]:
    """Asked where health was good, so whatever keeps it from answering is another route."""
    try:
        status, body = _get(f"{url}/api/status")
    except (OSError, http.client.HTTPException) as error:
        return "waiting", f"{url}/api/status does not answer: {error}"
    runs = _said(body).get("version")
    if status != 200 or not isinstance(runs, str):
        return "waiting", (
            f"/api/health is good, but /api/status answers {status}"
            f"{'' if status != 200 else ' without a version'}: another route takes its requests"
        )
    if version is not None and runs != version:
        return "mismatch", f"version {runs} runs, {version} is expected"
    return "healthy", ""


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_SECONDS) as reply:
            return reply.status, reply.read(65536)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(65536)


def _said(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
