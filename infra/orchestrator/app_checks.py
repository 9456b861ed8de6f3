"""Checks that an app is healthy and serves the expected version. Entry point: `AppChecks.check`.

A good answer of `/api/health` is not enough, because a catch-all route may take the requests of
other routes. So `/api/status` is called, too: its function name sorts late, it needs no key, and it
tells the version.
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

from infra.orchestrator.azure_cli import Az
from infra.orchestrator.resource_checks import Check, State
from infra.orchestrator.shadowed_routes import describe_shadowed_routes

_REQUEST_SECONDS = 15.0
_WITHOUT_HEALTH_JSON = " {}"
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
_FORBIDDEN = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class AppChecks:
    """Checks the apps of a resource group.

    `version` is the version that must run, or None for any. `new_sites` did not exist before this
    deployment. Without code the host of a site may not run, and then az cannot list its functions.
    """

    az: Az
    group: str
    version: str | None
    new_sites: Collection[str] = ()

    def check(self, name: str, url: str) -> Check:
        """Check one app. `waiting` means that the app may still become healthy."""
        listed = self.az.run(
            *("functionapp", "function", "list"),
            *("--resource-group", self.group, "--name", name, "-o", "json"),
        )
        if listed.succeeded and not listed.parse_json():
            return Check(kind="app", name=name, state="no code")
        state, detail = _check_health(url)
        if (
            name in self.new_sites
            and not listed.succeeded
            and detail.endswith(_WITHOUT_HEALTH_JSON)
        ):
            return Check(kind="app", name=name, state="no code")
        shadows = describe_shadowed_routes(listed.parse_json()) if listed.succeeded else ""
        if state == "healthy":
            state, problem = _check_status(url, self.version)
            detail = problem or detail
        if shadows:
            state, detail = "waiting", f"{detail}; {shadows}" if detail else shadows
        return Check(kind="app", name=name, state=state, detail=detail)


def read_repository_version(infra: Path) -> str | None:
    """Read the version from aos/version.py beside infra/. None if the file does not exist."""
    try:
        found = _VERSION.search((infra.parent / "aos" / "version.py").read_text("utf-8"))
    except OSError:
        return None
    return found[1] if found else None


def _check_health(url: str) -> tuple[State, str]:
    try:
        status, body = _get(f"{url}/api/health")
    except (OSError, http.client.HTTPException) as error:
        return "waiting", f"{url} does not answer: {error}"
    if status in _FORBIDDEN:
        detail = f"{url} answers {status}: this machine may not call it (access restrictions?)"
        return "unknown", detail
    answer = _parse_object(body)
    if status == 200 and answer.get("status") == "healthy":
        return "healthy", "paused" * bool(answer.get("paused"))
    return "waiting", f"/api/health answers {status} {json.dumps(answer)[:400]}"


def _check_status(url: str, version: str | None) -> tuple[State, str]:
    """Call /api/status of a healthy app. When it does not answer, another route takes the call."""
    try:
        status, body = _get(f"{url}/api/status")
    except (OSError, http.client.HTTPException) as error:
        return "waiting", f"{url}/api/status does not answer: {error}"
    found = _parse_object(body).get("version")
    if status != 200 or not isinstance(found, str):
        return "waiting", (
            f"/api/health is healthy, but /api/status answers {status}"
            f"{'' if status != 200 else ' without a version'}: another route takes its requests"
        )
    if version is not None and found != version:
        return "mismatch", f"version {found} runs, {version} is expected"
    return "healthy", ""


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_SECONDS) as reply:
            return reply.status, reply.read(65536)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(65536)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
