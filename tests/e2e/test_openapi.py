"""What /api/openapi.json promises, held against a running laptop with requests made from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import (
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from aos.entrypoints.route import Route
from aos.entrypoints.routes import MAIN_ROUTES
from devhost.laptop import Laptop
from tests.e2e.road import Answer, Road
from tests.scripted_model import ScriptedModel

KNOWN_EXAMPLES = 8
UNKNOWN_EXAMPLES = 3
ANSWER_SECONDS = 110.0
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    missing_required_header,
]
# A switch for the whole laptop would turn every later request away.
ROUTES = [r for r in MAIN_ROUTES.values() if r.documented and not r.path.startswith("ops/")]
CAN_BE_WRONG = [
    route
    for route in ROUTES
    # an empty Last-Event-ID is that of a client that has no event yet
    if (route.body or set(route.query) - {"after"}) and "Last-Event-ID" not in route.headers
]
WITH_IDS = [route for route in ROUTES if route.parameters and route.method not in ("PUT", "DELETE")]
REACHED = ("run_", "cancel_run", "get_", "list_", "put_agent", "rollback_agent", "health", "status")
"""Routes of which a good answer must have been seen, so that the rest is not all refusals."""
JUDGED_BY_THE_OPERATOR_OR_THE_WORLD = re.compile(
    r"model(\[\d+\])?|notify\b.*|output_schema|limits\.\w+|parameters|wake\.schedules\[\d+\]\.(cron|time_zone)"
    r"|command|url|args|(env|headers)\b.*",
    re.DOTALL,
)
"""Fields of a card whose rules a JSON Schema cannot say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The running API: its document as schemathesis reads it, and ids of what is there."""

    operations: dict[str, APIOperation[Any]]
    known: dict[str, str]
    digest: str

    def operation(self, route: Route) -> APIOperation[Any]:
        return self.operations[route.name]

    def parts(self, route: Route) -> dict[str, str]:
        """Path parameters that lead to something, where there is anything."""
        known = {} if route.method == "DELETE" else self.known  # the others need what is there
        return {name: known.get(name, "nowhere") for name in route.parameters}


@pytest.fixture(scope="module")
def api(model_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A laptop of its own: what the requests upload would wake agents under other tests."""
    laptop = Laptop(
        root=tmp_path_factory.mktemp("openapi"),
        model_endpoint=model_server.endpoint,
        settings={"AOS_MODEL": "scripted"},
    )
    with laptop:
        road = Road(laptop)
        yield Api(
            operations=_operations(road.call("GET", "/api/openapi.json").body, road.main),
            known=_furnish(road),
            digest=_ok(road.call("GET", "/api/agents/known")).body["digest"],
        )
        road.close()


def _furnish(road: Road) -> dict[str, str]:
    """Make one of everything; the ids by the names of path parameters."""
    for purpose in ("Ask.", "Answer."):
        card = {"agent_id": "known", "purpose": purpose}
        _ok(road.call("PUT", "/api/agents/known", card))
    server = {"server_id": "known", "url": "https://mcp.example.com/"}
    _ok(road.call("PUT", "/api/mcp-servers/known", server))
    run = _ok(road.ask("known", "Hello", conversation_id="known"))
    ids = dict.fromkeys(("agent_id", "server_id", "conversation_id"), "known")
    return {**ids, "run_id": run.body["run_id"], "name": "agent"}


def _ok(answer: Answer) -> Answer:
    assert answer.status == 200, answer.body
    return answer


def _operations(document: dict[str, Any], base_url: str) -> dict[str, APIOperation[Any]]:
    generation = GenerationConfig(deterministic=True, database="none")
    project = ProjectConfig(
        base_url=base_url, request_timeout=ANSWER_SECONDS, generation=generation
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(document, config=config)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


def _try_all(strategy: Any, *, examples: int, one: Callable[[Case], None]) -> None:
    """The same requests in every run of the suite, none of them kept."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Case) -> None:
        one(case)

    run()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.title)
def test_what_the_document_allows_is_answered_as_it_says(api: Api, route: Route) -> None:
    seen: set[int] = set()

    def one(case: Case) -> None:
        _sensible(case, api, route)
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)
        assert response.status_code not in (400, 413, 415), response.text
        if response.status_code == 422:
            assert _beyond_schemas(response.json()["error"]), response.text

    strategy = api.operation(route).as_strategy(path_parameters=api.parts(route))
    _try_all(strategy, examples=KNOWN_EXAMPLES, one=one)
    if route.name.startswith(REACHED) and "mcp" not in route.name:
        assert seen & route.answers.keys(), f"only {seen} were answered"


@pytest.mark.parametrize("route", CAN_BE_WRONG, ids=lambda route: route.title)
def test_what_the_document_forbids_is_refused_as_it_says(api: Api, route: Route) -> None:
    def one(case: Case) -> None:
        response = case.call()
        case.validate_response(response, checks=[*CHECKS, negative_data_rejection])

    strategy = api.operation(route).as_strategy(
        generation_mode=GenerationMode.NEGATIVE, path_parameters=api.parts(route)
    )
    _try_all(strategy, examples=KNOWN_EXAMPLES, one=one)


@pytest.mark.parametrize("route", WITH_IDS, ids=lambda route: route.title)
def test_ids_that_nobody_has_are_refused_as_the_document_says(api: Api, route: Route) -> None:
    def one(case: Case) -> None:
        case.path_parameters = {n: f"nobody-{v}" for n, v in case.path_parameters.items()}
        _keep_texts(case)
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        assert response.status_code == 404

    _try_all(api.operation(route).as_strategy(), examples=UNKNOWN_EXAMPLES, one=one)


def _sensible(case: Case, api: Api, route: Route) -> None:
    """Turn what no schema says into what it means: a card's id is in its path and its body."""
    if route.name == "get_usage":
        case.query = {n: v for n, v in (case.query or {}).items() if n not in ("from", "to")}
    if not isinstance(case.body, dict):
        return
    case.body = _plain(case.body)
    if "notify" in case.body:
        case.body["notify"] = None  # which receivers there may be is the operator's word
    if route.method == "PUT":
        name = route.parameters[0]
        case.path_parameters = {name: case.body[name]}
    elif "digest" in case.body:
        case.body["digest"] = api.digest
    _keep_texts(case)


def _keep_texts(case: Case) -> None:
    """Leave the texts of a message: whether a model may see an image is the operator's word."""
    message = case.body.get("message") if isinstance(case.body, dict) else None
    if isinstance(message, list):
        texts = [part for part in message if isinstance(part, dict) and part.get("type") == "text"]
        case.body["message"] = texts or "Hello?"


def _plain(value: Any) -> Any:
    """Without control characters, and with whole numbers written as such."""
    match value:
        case str():
            return re.sub(r"[\x00-\x1f]", "", value) or "x"
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {_plain(name): _plain(item) for name, item in value.items()}
        case _:
            return value


def _beyond_schemas(error: dict[str, Any]) -> bool:
    """Whether this is a refusal that a JSON Schema could not have foretold."""
    if error["code"] == "idempotency_conflict":
        return True
    problems = error["details"].get("errors", [])
    return bool(problems) and all(
        JUDGED_BY_THE_OPERATOR_OR_THE_WORLD.fullmatch(problem["path"])
        and not re.search("missing|exclude each other|must not be empty", problem["message"])
        for problem in problems
    )
