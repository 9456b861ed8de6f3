"""The laptop with AOS_AUTH=off, attacked by pages of its own browser and by hostile text."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Model
from tests.e2e.road import Road

APPS = {"main": "/api/runs", "mcp": "/api/mcp/nasty", "realm": "/api/status"}
ANSWERS_WITHIN_SECONDS = 0.1
MEBIBYTE = 1024 * 1024
HOSTILE: dict[str, bytes] = {
    "escaped quotes, then brackets": b'{"message":"' + rb"\"" * (MEBIBYTE // 2 - 600) + b"[" * 1100,
    "quotes without an end": b'"' * (MEBIBYTE // 2) + b"[" * (MEBIBYTE // 2),
    "empty lists": b'{"message":[' + b"[]," * (MEBIBYTE // 3 - 10) + b"0]}",
    "empty objects": b'{"metadata":[' + b"{}," * (MEBIBYTE // 3 - 10) + b"0]}",
    "numbers": b"[" + b"0," * (MEBIBYTE // 2 - 10) + b"0]",
}


def _ask(
    url: str, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    """A request as a browser's, its Host included."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    finally:
        connection.close()


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize(
    "page",
    [
        {"Host": "rebound.example:7071"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=lambda page: next(iter(page.items()))[1],
)
def test_a_page_from_elsewhere_is_served_by_none_of_the_apps(
    road: Road, app: str, page: dict[str, str]
) -> None:
    url = road.laptop.urls[app]
    for method, path in (("GET", APPS[app]), ("GET", "/api/health")):
        status, body = _ask(url, method, path, body=None, headers=page)
        assert (status, body["error"]["code"]) == (403, "forbidden")
    if app == "mcp":
        typed = {"Content-Type": "application/json", **page}
        status, body = _ask(url, "POST", APPS[app], body=b"{}", headers=typed)
        assert (status, body["error"]["code"]) == (403, "forbidden")


def test_a_rebound_page_uploads_no_server_and_its_program_does_not_run(
    road: Road, tmp_path: Path
) -> None:
    marker = tmp_path / "it ran"
    card = {
        "server_id": "evil",
        "command": "npx",
        "args": ["-y", f"@modelcontextprotocol/{marker}"],
    }
    page = {"Host": "rebound.example:7071", "Content-Type": "application/json"}
    body = json.dumps(card).encode()
    status, answer = _ask(road.main, "PUT", "/api/mcp-servers/evil", body=body, headers=page)
    assert (status, answer["error"]["code"]) == (403, "forbidden")
    assert "AOS_AUTH=keys" in answer["error"]["message"]
    assert road.call("GET", "/api/mcp-servers/evil").status == 404
    assert not marker.exists()


def test_a_page_starts_no_run_by_a_text_without_preflight(road: Road, model: Model) -> None:
    model.says("Hello.")
    agent_id = road.live("browsed")
    path, text = f"/api/agents/{agent_id}/run", {"Content-Type": "text/plain"}
    for page in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert _ask(road.main, "POST", path, body=b"Hello", headers={**text, **page})[0] == 403
    ours = {"Origin": "http://localhost:3000"}
    assert _ask(road.main, "POST", path, body=b"Hello", headers={**text, **ours})[0] == 415
    assert _ask(road.main, "POST", path, body=b'{"message":"a"}', headers={})[0] == 415
    assert road.call("GET", f"/api/runs?agent_id={agent_id}").body["items"] == []
    assert _ask(road.main, "POST", path, body=b"Hello", headers=text)[0] == 200


@pytest.mark.parametrize("name", HOSTILE)
def test_others_are_answered_while_hostile_text_is_read(road: Road, name: str) -> None:
    """The least of several attacks: the machine that tests run on is busy with other things."""
    assert len(HOSTILE[name]) <= MEBIBYTE
    slowest = [_slowest_answer(road, HOSTILE[name])]
    while min(slowest) >= ANSWERS_WITHIN_SECONDS and len(slowest) < 5:
        slowest.append(_slowest_answer(road, HOSTILE[name]))
    assert min(slowest) < ANSWERS_WITHIN_SECONDS, f"{slowest}"


def _slowest_answer(road: Road, body: bytes) -> float:
    """In seconds, of main and of realm while main reads the body."""
    over, slowest = threading.Event(), 0.0
    answers: list[int] = []

    def attack() -> None:
        for _ in range(2):
            answers.append(
                _ask(
                    road.main,
                    "POST",
                    "/api/agents/any/run",
                    body=body,
                    headers={"Content-Type": "application/json"},
                )[0]
            )
        over.set()

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        while not over.is_set():
            for app in ("main", "realm"):
                began = time.perf_counter()
                _ask(road.laptop.urls[app], "GET", "/api/status", body=None, headers={})
                slowest = max(slowest, time.perf_counter() - began)
    finally:
        attacker.join(timeout=60)
    assert answers == [400] * 2
    return slowest
