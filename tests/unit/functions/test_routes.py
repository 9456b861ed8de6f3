"""Requests find the function that Azure would call."""

from __future__ import annotations

import pytest

from devhost.functions.errors import LoadError
from devhost.functions.routes import RouteTable
from tests.unit.functions.conftest import Load

APP = """
@app.route("agents/{agent_id}", methods=["GET"])
def agent(req: func.HttpRequest) -> str: ...

@app.route("agents/{agent_id}", methods=["PUT"])
def put_agent(req: func.HttpRequest) -> str: ...

@app.route("agents/mine", methods=["GET"])
def mine(req: func.HttpRequest) -> str: ...

@app.route("runs/{number:int}")
def numbered(req: func.HttpRequest) -> str: ...

@app.route("runs/{run_id?}")
def run(req: func.HttpRequest) -> str: ...

@app.route("schemas/{name}.json")
def schema(req: func.HttpRequest) -> str: ...

@app.route("{*rest}")
def everything(req: func.HttpRequest) -> str: ...
"""

FOUND = [
    ("GET", "/api/agents/ceo", ("agent", {"agent_id": "ceo"})),
    ("PUT", "/api/agents/ceo", ("put_agent", {"agent_id": "ceo"})),
    ("GET", "/API/Agents/CEO", ("agent", {"agent_id": "CEO"})),
    ("GET", "/api/agents/mine", ("mine", {})),
    ("GET", "/api/agents/a%20b", ("agent", {"agent_id": "a b"})),
    ("GET", "/api/agents/a%2Fb", ("agent", {"agent_id": "a%2Fb"})),
    ("DELETE", "/api/agents/ceo", ("everything", {"rest": "agents/ceo"})),
    ("GET", "/api/runs/12", ("numbered", {"number": "12"})),
    ("GET", "/api/runs/x", ("run", {"run_id": "x"})),
    ("GET", "/api/runs", ("run", {})),
    ("GET", "/api/schemas/agent.json", ("schema", {"name": "agent"})),
    ("POST", "/api/no/such/thing", ("everything", {"rest": "no/such/thing"})),
    ("GET", "/api", ("everything", {})),
    ("GET", "/agents/ceo", None),
    ("TRACE", "/api/agents/ceo", None),
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
