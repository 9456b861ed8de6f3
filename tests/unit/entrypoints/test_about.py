"""What the apps say about themselves: health, status, and the contract as documents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from aos.entrypoints.http.callers import AuthMode
from aos.entrypoints.http.openapi import build_openapi, build_schemas
from aos.entrypoints.route import Route
from aos.entrypoints.routes import MAIN_ROUTES
from aos.errors import TransientError
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call, request

DOCUMENT = build_openapi(auth="keys", reply_to=("businessinfinity-responses",))


class Checks:
    """Dependencies that do as they are told, and count."""

    def __init__(self, apps: InMemory) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        world = replace(apps.world, checks={"servicebus": self.check, "storage": self.fine})
        self.main = apps.new_main(world=world)

    async def check(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    async def fine(self) -> None:
        pass


async def test_health_is_200_with_its_checks(apps: InMemory) -> None:
    reply = await call(Checks(apps).main.about.health)
    assert reply.status == 200
    assert reply.body == {
        "status": "healthy",
        "timestamp": "2030-01-01T00:00:00.000Z",
        "paused": False,
        "servicebus": "healthy",
        "storage": "healthy",
        "model": "configured",
    }


async def test_health_is_503_when_a_dependency_is_away_and_recovers(apps: InMemory) -> None:
    checks = Checks(apps)
    checks.error = TransientError("gone: secret host")
    reply = await call(checks.main.about.health)
    assert (reply.status, reply.body["status"]) == (503, "unhealthy")
    assert (reply.body["servicebus"], reply.body["storage"]) == ("unavailable", "healthy")
    assert "secret host" not in str(reply.body)
    assert apps.telemetry.lines[-1]["event"] == "dependency_away"
    checks.error = None
    apps.clock.advance(5)
    assert (await call(checks.main.about.health)).status == 200


async def test_health_is_kept_for_five_seconds_and_many_at_once_ask_once(apps: InMemory) -> None:
    checks = Checks(apps)
    await asyncio.gather(*(call(checks.main.about.health) for _ in range(20)))
    apps.clock.advance(4.9)
    await call(checks.main.about.health)
    assert checks.calls == 1
    apps.clock.advance(0.2)
    await call(checks.main.about.health)
    assert checks.calls == 2


async def test_a_check_that_hangs_is_unavailable(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = Checks(apps)
    checks.error = TimeoutError()
    assert (await call(checks.main.about.health)).status == 503


async def test_no_model_is_said_but_stays_200(apps: InMemory) -> None:
    apps.model.is_configured = lambda: False  # type: ignore[method-assign]
    reply = await call(Checks(apps).main.about.health)
    assert (reply.status, reply.body["model"]) == (200, "not_configured")


async def test_status_tells_admins_what_is_known_without_asking(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*given: Any, **more: Any) -> Any:
        raise AssertionError("status asked a dependency")

    monkeypatch.setattr(type(apps.data), "read", away)
    reply = await call(apps.main.about.status)
    assert reply.body == {
        "version": "2.0.0",
        "environment": "dev",
        "catalog_version": 1,
        "agents": {"active": 1, "disabled": 0, "rejected": 0},
        "queues": None,
    }
    new = apps.new_main()
    assert (await call(new.about.status)).body["catalog_version"] is None


async def test_whatever_has_no_route_is_404_as_json(apps: InMemory) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        reply = await call(apps.main.contract.not_found, method, parts={"path": "nothing"})
        assert (reply.status, reply.code) == (404, "not_found")


@pytest.mark.parametrize("app", ["main", "realm"])
@pytest.mark.parametrize("name", ["health", "status"])
async def test_head_answers_as_get_without_a_body(apps: InMemory, app: str, name: str) -> None:
    route = getattr(getattr(apps, app).about, name)
    got, head = await route(request("GET")), await route(request("HEAD"))
    assert (head.status_code, head.mimetype) == (got.status_code, got.mimetype)
    assert (head.get_body(), len(got.get_body()) > 0) == (b"", True)


async def test_head_tells_of_a_dependency_that_is_away(apps: InMemory) -> None:
    checks = Checks(apps)
    checks.error = TransientError("gone")
    assert (await checks.main.about.health(request("HEAD"))).status_code == 503


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post"])
@pytest.mark.parametrize("name", ["health", "status"])
async def test_health_and_status_take_no_other_method(
    apps: InMemory, name: str, method: str
) -> None:
    reply = await call(getattr(apps.realm.about, name), method)
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "tools", "GET"),
        ("PATCH", "agents/ceo", "DELETE, GET, PUT"),
        ("GET", "agents/ceo/run", "POST"),
        ("GET", "Agents/ceo/RUN/", "POST"),
        ("PATCH", "runs/r/approvals/call_1", "POST"),
        ("HEAD", "schemas/run.json", "GET"),
        ("POST", "openapi.json", "GET"),
    ],
)
async def test_a_known_path_with_another_method_is_405_and_says_what_it_takes(
    apps: InMemory, method: str, path: str, allow: str
) -> None:
    response = await apps.main.contract.not_found(request(method, parts={"path": path}))
    assert (response.status_code, response.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["openapixjson", "agents/a/b", "runs//cancel", "tools/x", ""])
async def test_a_path_that_only_looks_like_a_known_one_is_404(apps: InMemory, path: str) -> None:
    reply = await call(apps.main.contract.not_found, "DELETE", parts={"path": path})
    assert (reply.status, reply.code) == (404, "not_found")


async def test_schemas_are_served_by_name(apps: InMemory) -> None:
    for name in ("agent", "mcp-server", "run", "request", "reply", "error"):
        reply = await call(apps.main.contract.schema, parts={"name": name})
        assert reply.status == 200
        meta.validate(reply.body)
    reply = await call(apps.main.contract.schema, parts={"name": "none"})
    assert (reply.status, reply.code) == (404, "schema_not_found")
    assert "mcp-server" in reply.message


def test_no_published_schema_refers_outside_itself() -> None:
    for schema in build_schemas().values():
        assert "#/components" not in str(schema)
        Draft202012Validator(schema).is_valid({})


def test_the_document_lists_exactly_the_routes() -> None:
    listed = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert listed == {
        (route.method, f"/api/{route.path}") for route in MAIN_ROUTES.values() if route.documented
    }


async def test_the_document_asks_for_a_key_only_where_one_is_needed(apps: InMemory) -> None:
    anonymous = {
        operation["operationId"]
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        if "security" not in operation
    }
    assert anonymous == {"health", "status"}
    assert "security" not in str((await call(apps.main.contract.openapi)).body["paths"])


@pytest.mark.parametrize(
    ("auth", "schemes"),
    [
        ("off", None),
        ("keys", {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}}),
        ("easyauth", {"signIn": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}),
    ],
)
def test_the_document_says_how_callers_show_who_they_are(
    auth: AuthMode, schemes: dict[str, Any] | None
) -> None:
    document = build_openapi(auth=auth, reply_to=())
    assert document["components"].get("securitySchemes") == schemes
    asked = document["paths"]["/api/runs"]["get"].get("security")
    assert asked == (None if schemes is None else [{name: []} for name in schemes])


def test_every_reference_of_the_document_leads_somewhere() -> None:
    text, schemas = str(DOCUMENT), DOCUMENT["components"]["schemas"]
    named = {part.split("'")[0] for part in text.split("'#/components/schemas/")[1:]}
    assert named - set(schemas) == set()
    for schema in schemas.values():
        meta.validate(schema)


def fits(route: Route, reply: Reply) -> None:
    """The answer has a documented status, and the shape of it."""
    operation = DOCUMENT["paths"][f"/api/{route.path}"][route.method.lower()]
    response = operation["responses"][str(reply.status)]
    schema = response["content"]["application/json"]["schema"]
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(reply.body)


async def test_real_answers_have_the_documented_shapes(apps: InMemory) -> None:
    main = apps.main
    async with apps.pumping():
        run = await apps.ask({"message": "Hello", "conversation_id": "c"})
    accepted = await apps.ask({"message": "Hello", "wait_seconds": 0})
    parts = {
        "run_id": run.body["run_id"],
        "conversation_id": "c",
        "agent_id": "ceo",
        "name": "run",
    }
    fits(MAIN_ROUTES["run_agent"], run)
    fits(MAIN_ROUTES["run_agent"], accepted)
    fits(MAIN_ROUTES["run_agent"], await apps.ask({}))
    for name, route in {
        "list_runs": main.runs.list,
        "get_run": main.runs.get,
        "list_conversations": main.conversations.list,
        "get_conversation": main.conversations.get,
        "list_messages": main.conversations.messages,
        "list_tools": main.tools.list,
        "list_approvals": main.tools.approvals,
        "list_agents": main.agents.list,
        "get_agent": main.agents.get,
        "list_agent_versions": main.agents.versions,
        "list_mcp_servers": main.mcp_servers.list,
        "health": main.about.health,
        "status": main.about.status,
        "openapi": main.contract.openapi,
        "get_schema": main.contract.schema,
    }.items():
        reply = await call(route, parts=parts)
        assert reply.status == 200, name
        fits(MAIN_ROUTES[name], reply)
    put = await call(
        main.agents.put, "PUT", body={"agent_id": "ceo", "purpose": "Lead."}, parts=parts
    )
    fits(MAIN_ROUTES["put_agent"], put)


async def test_a_reply_on_the_bus_has_the_published_shape(apps: InMemory) -> None:
    import json

    apps.send({"agent_id": "ceo", "message": "Hello"})
    apps.send({"agent_id": "nobody", "message": "Hello"}, message_id="m-2")
    await apps.settle()
    validator = Draft202012Validator(build_schemas()["reply"])
    for kept in apps.replies():
        validator.validate(json.loads(kept.body))
    assert len(apps.replies()) == 2


async def test_the_warm_up_is_waited_for_but_not_by_status(apps: InMemory) -> None:
    from aos.bootstrap.warmup import Warmup

    async def nothing() -> None:
        pass

    cold = Warmup((), then=nothing)  # never started: nothing will ever be ready
    main = apps.new_main(ready=cold.ready)
    assert (await call(main.about.status)).status == 200
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call(main.runs.list)


async def test_a_missing_sdk_is_told_to_whoever_needs_it() -> None:
    from aos.bootstrap.warmup import Warmup

    async def nothing() -> None:
        pass

    warmup = Warmup(("no_such_sdk",), then=nothing, head_start_seconds=0.0)
    warmup.start()
    with pytest.raises(ModuleNotFoundError):
        await asyncio.wait_for(warmup.ready(), 5)
