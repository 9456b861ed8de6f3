"""A laptop with AOS_AUTH=keys: who gets in, as whom, what each sees, and that no key is kept."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI

from aos.entrypoints.route import Route
from aos.entrypoints.routes import MAIN_ROUTES
from devhost.laptop import Laptop
from tests.e2e.road import Answer, Road, eventually
from tests.scripted_model import ScriptedModel

GUARDED = [route for route in MAIN_ROUTES.values() if route.access != "anyone"]
OPERATORS = [route for route in GUARDED if route.access == "admin"]
PAGES = re.compile(r"/api/(runs|conversations)\?limit=1&after=[\w-]+")
FLUSH_SECONDS = 20.0
"""Azurite writes its tables to disk every 5 s."""


@dataclass(frozen=True, slots=True)
class Doors:
    """One laptop, and its doors with each of its keys."""

    laptop: Laptop
    default: Road
    second: Road
    admin: Road

    @property
    def all(self) -> tuple[Road, ...]:
        return self.default, self.second, self.admin


@pytest.fixture(scope="module")
def doors(model_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    laptop = Laptop(
        root=tmp_path_factory.mktemp("keys"),
        model_endpoint=model_server.endpoint,
        settings={"AOS_MODEL": "scripted", "AOS_AUTH": "keys"},
    )
    with laptop:
        made = Doors(laptop, *(Road(laptop, key=laptop.keys[n]) for n in laptop.keys))
        yield made
        for road in made.all:
            road.close()


@pytest.fixture(scope="module")
def agent(doors: Doors) -> str:
    return doors.admin.live(f"keys-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def stranger(doors: Doors) -> Iterator[Road]:
    """Somebody without a key."""
    road = Road(doors.laptop)
    yield road
    road.close()


def knock(road: Road, route: Route, **headers: str) -> Answer:
    """Call a route; what is in its path is nowhere to be found."""
    path = re.sub(r"\{\*?\w+\}", "nowhere", route.path)
    method = "GET" if route.method == "ANY" else route.method
    body: Any = None if method == "GET" else {}
    return road.call(method, f"/api/{path}", body, headers=headers)


def ids(answer: Answer, field: str) -> set[str]:
    assert answer.status == 200, answer.body
    return {item[field] for item in answer.body["items"]}


def listed(road: Road, path: str, field: str, wanted: str) -> set[str]:
    """The ids in a list, once it shows the one that is wanted."""

    def look() -> set[str] | None:
        found = ids(road.call("GET", path), field)
        return found if wanted in found else None

    return eventually(look, seconds=10, what=f"{wanted} in {path}")


def test_the_laptop_writes_three_keys_for_their_owner_alone(doors: Doors) -> None:
    assert sorted(doors.laptop.keys) == ["admin", "default", "second"]
    assert len({*doors.laptop.keys.values()}) == 3
    assert doors.laptop.places.keys.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.title)
def test_no_route_but_health_and_status_opens_without_a_key(stranger: Road, route: Route) -> None:
    assert knock(stranger, route).status == 401
    assert knock(stranger, route, **{"x-functions-key": "no-such-key"}).status == 401
    assert knock(stranger, route, **{"x-functions-key": ""}).status == 401


@pytest.mark.parametrize("app", ["main", "mcp", "realm"])
def test_health_and_status_open_to_anyone_and_tell_no_more_than_they_must(
    stranger: Road, app: str
) -> None:
    assert stranger.call("GET", "/api/health", app=app).status == 200
    status = stranger.call("GET", "/api/status", app=app)
    assert (status.status, status.body) == (200, {"version": "2.0.0", "environment": "dev"})


def test_status_tells_admins_more(doors: Doors) -> None:
    assert "catalog_version" in doors.admin.call("GET", "/api/status").body
    assert "catalog_version" not in doors.default.call("GET", "/api/status").body


@pytest.mark.parametrize("route", OPERATORS, ids=lambda route: route.title)
def test_routes_of_operators_are_403_to_others(doors: Doors, route: Route) -> None:
    for road in (doors.default, doors.second):
        refused = knock(road, route)
        assert (refused.status, refused.code) == (403, "forbidden")
        assert "AOS_ADMIN_KEYS" in refused.body["error"]["message"]
    assert knock(doors.admin, route).status not in (401, 403)


def test_two_keys_are_two_owners_and_the_admin_sees_all(doors: Doors, agent: str) -> None:
    mine = doors.default.ask(agent, "Hello", conversation_id=f"mine-{agent}").body
    theirs = doors.second.ask(agent, "Hello", conversation_id=f"theirs-{agent}").body
    assert (mine["status"], theirs["status"]) == ("completed", "completed")
    run, talk = mine["run_id"], mine["conversation_id"]

    for method, path, code in (
        ("GET", f"/api/runs/{run}", "run_not_found"),
        ("POST", f"/api/runs/{run}/cancel", "run_not_found"),
        ("GET", f"/api/conversations/{talk}", "conversation_not_found"),
        ("GET", f"/api/conversations/{talk}/messages", "conversation_not_found"),
    ):
        refused = doors.second.call(method, path)
        assert (refused.status, refused.code) == (404, code)
        assert doors.default.call(method, path).status in (200, 202)
        assert doors.admin.call(method, path).status in (200, 202)
    continued = doors.second.ask(agent, "And now?", conversation_id=talk)
    assert (continued.status, continued.code) == (404, "conversation_not_found")

    for path, field in (("/api/runs", "run_id"), ("/api/conversations", "conversation_id")):
        assert mine[field] not in listed(doors.second, path, field, theirs[field])
        assert theirs[field] not in listed(doors.default, path, field, mine[field])
        assert {mine[field], theirs[field]} <= listed(doors.admin, path, field, theirs[field])
    seen = doors.admin.call("GET", f"/api/conversations/{talk}").body
    assert seen["owner"] == "default"


def test_the_header_wins_over_the_query(doors: Doors, stranger: Road, agent: str) -> None:
    keys = doors.laptop.keys
    path = f"/api/agents/{agent}/run?code={keys['second']}"

    def owner(**headers: str) -> str:
        run = stranger.call("POST", path, {"message": "Whose?"}, headers=headers)
        assert run.status == 200, run.body
        talk = run.body["conversation_id"]
        return str(doors.admin.call("GET", f"/api/conversations/{talk}").body["owner"])

    assert owner() == f"key:{digest(keys['second'])}"
    assert owner(**{"x-functions-key": keys["default"]}) == "default"
    wrong = {"x-functions-key": "no-such-key"}
    assert stranger.call("POST", path, {"message": "Whose?"}, headers=wrong).status == 401


def test_no_key_is_in_a_log_a_table_a_blob_a_message_or_an_answer(
    doors: Doors, stranger: Road, agent: str
) -> None:
    keys = doors.laptop.keys
    card = {"agent_id": agent, "purpose": "Answer."}
    answers = [doors.admin.call("PUT", f"/api/agents/{agent}", card)]
    for name, key in keys.items():
        code = f"code={key}"
        answers += [
            stranger.call("POST", f"/api/agents/{agent}/run?{code}", {"message": f"By {name}"}),
            stranger.call("POST", f"/api/agents/{agent}/run?{code}", b"{"),
            stranger.call("POST", f"/api/agents/{agent}/rollback?{code}", {}),
            stranger.call("GET", f"/api/nowhere?{code}"),
            stranger.call("GET", f"/api/runs?limit=x&{code}"),
        ]
        for folder in ("runs", "conversations"):
            stranger.call("POST", f"/api/agents/{agent}/run?{code}", {"message": "Again"})
            page = second_page(stranger, f"/api/{folder}?limit=1&{code}")
            assert PAGES.fullmatch(page.body["next"])
            answers.append(page)
    assert not [a for a in answers for key in keys.values() if key in f"{a.body}{a.headers}"]

    last = doors.default.ask(agent, "The last")
    written = f"{last.body['run_id']}".encode()
    eventually(
        lambda: [
            path for path in _files_with(doors.laptop, written) if path.startswith("azurite/")
        ],
        seconds=FLUSH_SECONDS,
        what="the last run on disk",
    )
    for known in (b"By default", f"key:{digest(keys['second'])}".encode()):
        assert _files_with(doors.laptop, known)
    assert {name: _files_with(doors.laptop, key.encode()) for name, key in keys.items()} == {
        name: [] for name in keys
    }


def second_page(road: Road, path: str) -> Answer:
    """The first page of a list once it has a next one."""

    def look() -> Answer | None:
        page = road.call("GET", path)
        assert page.status == 200, page.body
        return page if page.body["next"] else None

    return eventually(look, seconds=10, what=f"a second page of {path.partition('?')[0]}")


def _files_with(laptop: Laptop, text: bytes) -> list[str]:
    """The files of the laptop's data that hold the text; the key file itself is left out."""
    data: Path = laptop.places.data
    files = [path for path in data.rglob("*") if path.is_file() and path != laptop.places.keys]
    return sorted(str(path.relative_to(data)) for path in files if text in path.read_bytes())


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def test_clients_of_openai_send_a_listed_key_as_a_bearer(doors: Doors) -> None:
    def connect(key: str) -> OpenAI:
        return OpenAI(base_url=f"{doors.default.main}/api/openai/v1", api_key=key, max_retries=0)

    for name in ("default", "admin"):
        assert connect(doors.laptop.keys[name]).models.list().object == "list"
    with pytest.raises(AuthenticationError, match="AOS_KEY_OWNERS"):
        connect(doors.laptop.keys["second"]).models.list()
