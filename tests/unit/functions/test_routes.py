"""Requests find the function that Azure would call: the first by name that takes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from devhost.functions.errors import LoadError
from devhost.functions.host import Host
from devhost.functions.routes import RouteTable
from devhost.functions.shadows import find_shadows
from tests.unit.functions.conftest import Load, write_app

APP = """
@app.route("agents/{agent_id}", methods=["GET"])
def agent(req: func.HttpRequest) -> str: ...

@app.route("agents/{agent_id}", methods=["PUT"])
def put_agent(req: func.HttpRequest) -> str: ...

@app.route("agents/mine", methods=["GET"])
def a1_mine(req: func.HttpRequest) -> str: ...

@app.route("runs/{number:int}")
def number(req: func.HttpRequest) -> str: ...

@app.route("runs/{run_id?}")
def run(req: func.HttpRequest) -> str: ...

@app.route("schemas/{name}.json")
def schema(req: func.HttpRequest) -> str: ...

@app.route("{*rest}")
def z_everything(req: func.HttpRequest) -> str: ...
"""

FOUND = [
    ("GET", "/api/agents/ceo", ("agent", {"agent_id": "ceo"})),
    ("PUT", "/api/agents/ceo", ("put_agent", {"agent_id": "ceo"})),
    ("GET", "/API/Agents/CEO", ("agent", {"agent_id": "CEO"})),
    ("GET", "/api/agents/mine", ("a1_mine", {})),
    ("GET", "/api/agents/a%20b", ("agent", {"agent_id": "a b"})),
    ("GET", "/api/agents/a%2Fb", ("agent", {"agent_id": "a%2Fb"})),
    ("DELETE", "/api/agents/ceo", ("z_everything", {"rest": "agents/ceo"})),
    ("GET", "/api/runs/12", ("number", {"number": "12"})),
    ("GET", "/api/runs/x", ("run", {"run_id": "x"})),
    ("GET", "/api/runs", ("run", {})),
    ("GET", "/api/schemas/agent.json", ("schema", {"name": "agent"})),
    ("POST", "/api/no/such/thing", ("z_everything", {"rest": "no/such/thing"})),
    ("GET", "/api", ("z_everything", {})),
    ("GET", "/agents/ceo", None),
    ("TRACE", "/api/agents/ceo", ("z_everything", {"rest": "agents/ceo"})),
    ("GET", "/api/no%0Aline", ("z_everything", {"rest": "no\nline"})),
    ("GET", "/api/agents/ceo/", ("agent", {"agent_id": "ceo"})),
    ("GET", "/api/agents/ceo//", ("z_everything", {"rest": "agents/ceo/"})),
    ("GET", "/api/agents//ceo", ("z_everything", {"rest": "agents//ceo"})),
    ("GET", "/api/", ("z_everything", {})),
    ("GET", "/api//agents/ceo", None),
    ("GET", "/api//", None),
    ("GET", "//api/agents/ceo", None),
]


@pytest.mark.parametrize(("method", "path", "expected"), FOUND)
def test_a_request_finds_its_function(
    load: Load, method: str, path: str, expected: tuple[str, dict[str, str]] | None
) -> None:
    found = RouteTable(load(APP), prefix="api").find(method, path)
    assert (found and (found[0].name, found[1])) == expected


def test_a_head_request_needs_a_function_that_takes_it(load: Load) -> None:
    table = RouteTable(
        load('@app.route("a", methods=["GET"])\ndef f(req: func.HttpRequest) -> str: ...'),
        prefix="api",
    )
    assert table.find("GET", "/api/a") is not None
    assert table.find("HEAD", "/api/a") is None


def test_without_a_prefix_routes_begin_at_the_root(load: Load) -> None:
    table = RouteTable(load('@app.route("a")\ndef f(req: func.HttpRequest) -> str: ...'), prefix="")
    assert table.find("GET", "/a") is not None


@pytest.mark.parametrize("route", ["a/{b:regex(x)}", "a/{b"])
def test_templates_that_are_not_served_are_refused(load: Load, route: str) -> None:
    functions = load(f'@app.route("{route}")\ndef f(req: func.HttpRequest) -> str: ...')
    with pytest.raises(LoadError, match="the f function"):
        RouteTable(functions, prefix="api")


ONE = '@app.route("{route}", methods={methods})\ndef {name}(req: func.HttpRequest) -> str: ...\n'


def _app(*functions: tuple[str, str, list[str] | None]) -> str:
    return "".join(ONE.format(name=n, route=r, methods=m) for n, r, m in functions)


@pytest.mark.parametrize(
    ("functions", "taken_by"),
    [
        ([("status", "status", ["GET"]), ("everything", "{*rest}", None)], "everything"),
        ([("status", "status", ["GET"]), ("Zall", "{*rest}", None)], "status"),
        ([("zz", "status", ["GET"]), ("z_", "{*rest}", None)], "zz"),
        ([("a_b", "status", ["GET"]), ("aZ", "{*rest}", None)], "aZ"),
        ([("A1", "{*rest}", None), ("aa", "status", ["GET"])], "A1"),
        ([("b", "status", ["GET"]), ("a", "{name}", ["GET"])], "a"),
        ([("b", "status", ["GET"]), ("a", "{name}", ["POST"])], "b"),
        ([("b", "status", ["GET"]), ("a", "{name:int}", ["GET"])], "b"),
    ],
)
def test_the_first_function_by_name_takes_the_request(
    load: Load, functions: list[tuple[str, str, list[str] | None]], taken_by: str
) -> None:
    found = RouteTable(load(_app(*functions)), prefix="api").find("GET", "/api/status")
    assert found is not None
    assert found[0].name == taken_by


SHADOWS = [
    (("a", "{*rest}", None), ("b", "status", ["GET"]), True),
    (("b", "{*rest}", None), ("a", "status", ["GET"]), False),
    (("a", "{*rest}", ["POST"]), ("b", "status", ["GET"]), False),
    (("a", "x/{*rest}", None), ("b", "status", ["GET"]), False),
    (("a", "x/{*rest}", None), ("b", "x", ["GET"]), True),
    (("a", "runs/{id}", ["GET"]), ("b", "runs/mine", ["GET", "PUT"]), True),
    (("a", "runs/{id}", ["GET"]), ("b", "RUNS/{other}", ["GET"]), True),
    (("a", "runs/{id:int}", ["GET"]), ("b", "runs/mine", ["GET"]), False),
    (("a", "runs/{id:int}", ["GET"]), ("b", "runs/{id}", ["GET"]), False),
    (("a", "runs/{id?}", ["GET"]), ("b", "runs", ["GET"]), True),
    (("a", "runs", ["GET"]), ("b", "runs/{id?}", ["GET"]), False),
    (("a", "{name}.json", ["GET"]), ("b", "openapi.json", ["GET"]), True),
    (("a", "{name}.json", ["GET"]), ("b", "openapi.yaml", ["GET"]), False),
    (("a", "agents/{id}/run", ["POST"]), ("b", "agents/ceo/{verb}", ["POST"]), True),
    (("a", "agents/{id}/run", ["POST"]), ("b", "agents/{id}/{verb}", ["POST"]), False),
]


@pytest.mark.parametrize(("one", "other", "expected"), SHADOWS)
def test_a_route_that_loses_requests_to_an_earlier_one_is_found(
    load: Load,
    one: tuple[str, str, list[str] | None],
    other: tuple[str, str, list[str] | None],
    expected: bool,
) -> None:
    table = RouteTable(load(_app(one, other)), prefix="api")
    found = [
        (it.earlier.function.name, it.later.function.name) for it in find_shadows(table.routes)
    ]
    assert found == ([("a", "b")] if expected else [])


def test_the_host_says_which_route_is_shadowed_by_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = write_app(tmp_path / "app", _app(("a", "{*rest}", None), ("b", "status", ["GET"])))
    Host.load(folder, keys=None)
    sys.modules.pop("function_app", None)
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["function"], line["taken_by"]) == ("http.shadowed", "b", "a")
    assert line["route"] == "api/status"
