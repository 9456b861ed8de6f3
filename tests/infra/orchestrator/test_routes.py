"""An app whose health is good, but whose other routes are shadowed, is not healthy."""

from __future__ import annotations

import io
from typing import Any

import pytest

from aos.entrypoints.route import Route
from aos.entrypoints.routes import MAIN_ROUTES, MCP_ROUTES, REALM_ROUTES
from aos.version import __version__
from infra.orchestrator import health_cli
from infra.orchestrator.app_checks import read_repository_version
from infra.orchestrator.console import Console
from infra.orchestrator.shadowed_routes import describe_shadowed_routes
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.conftest import INFRA
from tests.infra.orchestrator.site import Site
from tests.infra.orchestrator.world import APPS, World

NOT_FOUND = {"error": {"code": "not_found", "message": "nothing is at GET /api/status"}}


def listed(
    name: str, route: str | None = None, methods: list[str] | None = None, *, app: str = "main"
) -> dict[str, Any]:
    """One function as `az functionapp function list` prints it."""
    trigger = {"authLevel": "anonymous", "direction": "in", "name": "req", "type": "httpTrigger"}
    given = {"route": route, "methods": methods}
    trigger |= {key: value for key, value in given.items() if value is not None}
    return {
        "config": {"bindings": [trigger, {"direction": "OUT", "name": "$return", "type": "http"}]},
        "isDisabled": False,
        "language": "python",
        "name": f"{APPS[app]}/{name}",
    }


def of_table(routes: dict[str, Route], **renamed: str) -> list[dict[str, Any]]:
    """Every route of an app, some under another function name."""
    return [
        listed(
            renamed.get(name, name),
            route.path,
            None if route.method == "ANY" else [route.method],
        )
        for name, route in routes.items()
    ]


TAKES_ALL = of_table(MAIN_ROUTES, z_not_found="not_found")


def _published(world: World, site: Site, functions: list[dict[str, Any]]) -> None:
    outputs = world.outputs(site.urls())
    world.az.answers("functionapp function list", functions)
    world.az.answers("deployment group create", az_output.deployed(outputs))
    world.az.answers("deployment group list", [az_output.deployed(outputs)])
    for command in ("servicebus namespace show", "storage account show"):
        world.az.answers(command, {"provisioningState": "Succeeded"})
    queues = ("aos-requests", "aos-main", "aos-realm", "aos-mcp")
    world.az.answers("servicebus queue list", [{"name": it} for it in queues])
    topics = ("agent-events", "system-events")
    world.az.answers("servicebus topic list", [{"name": it} for it in topics])
    containers = ("aos-config", "aos-data", "aos-logs")
    world.az.answers("storage container-rm list", [{"name": it} for it in containers])


def _deploy(world: World, *flags: str) -> int:
    return 6 * (world.deploy("--health-timeout", "5", *flags) != 0)


def _check(world: World, *flags: str) -> int:
    stream = io.StringIO()
    argv = ["--environment", "dev", "--timeout", "5", *flags]
    code = health_cli.main(argv, console=Console(stream), clock=world.clock)
    world.said = stream.getvalue()
    return 6 * (code != 0)


@pytest.mark.parametrize("look", [_deploy, _check], ids=["deploy", "health_check"])
@pytest.mark.parametrize(
    ("status", "functions", "shown"),
    [
        pytest.param(
            (404, NOT_FOUND),
            TAKES_ALL,
            (
                "/api/health is healthy, but /api/status answers 404",
                "not_found (route {*path}) takes the requests of openai_agent_door, ",
                "rename not_found to sort last",
            ),
            id="shadowed",
        ),
        pytest.param(
            (401, ""),
            TAKES_ALL,
            ("/api/status answers 401", "not_found (route {*path}) takes the requests of"),
            id="shadowed_by_a_route_that_needs_a_key",
        ),
        pytest.param(
            (404, NOT_FOUND),
            [{"name": "aos-dev-func/health"}],
            ("/api/status answers 404: another route takes its requests",),
            id="shadowed_where_az_lists_no_routes",
        ),
        pytest.param(
            (200, {"here": "is everything"}),
            [{"name": "aos-dev-func/health"}],
            ("/api/status answers 200 without a version",),
            id="another_function_answers",
        ),
        pytest.param(
            (200, {"version": __version__}),
            [*of_table(REALM_ROUTES), listed("a", "{name}", ["POST"]), listed("b", "x", ["POST"])],
            ("a (route {name}) takes the requests of b",),
            id="a_route_that_nobody_asks_is_shadowed",
        ),
    ],
)
def test_recorded_az_app_whose_health_is_good_but_whose_routes_are_shadowed_is_unhealthy(
    world: World, site: Site, look: Any, status: Any, functions: Any, shown: tuple[str, ...]
) -> None:
    _published(world, site, functions)
    site.answers("main", status, route="status")
    assert look(world) == 6
    for text in shown:
        assert text in world.said


@pytest.mark.parametrize("look", [_deploy, _check], ids=["deploy", "health_check"])
def test_recorded_az_app_with_the_routes_of_the_table_is_healthy(
    world: World, site: Site, look: Any
) -> None:
    _published(world, site, of_table(MAIN_ROUTES))
    assert look(world, "--require-apps") == 0, world.said
    assert {"/main/api/status", "/mcp/api/status", "/realm/api/status"} <= set(site.asked)


def test_recorded_az_app_of_another_version_fails_only_where_apps_are_required(
    world: World, site: Site
) -> None:
    _published(world, site, of_table(MAIN_ROUTES))
    site.answers("mcp", (200, {"version": "1.0.0"}), route="status")
    assert _check(world) == 0
    shown = f"mismatch  app aos-dev-mcp-func: version 1.0.0 runs, {__version__} is expected"
    assert shown in world.said
    assert _check(world, "--require-apps") == 6
    assert _check(world, "--require-apps", "--app-version", "1.0.0") == 6  # main and realm differ
    assert "aos-dev-mcp-func: version" not in world.said


def test_recorded_az_new_version_that_arrives_late_is_waited_for(world: World, site: Site) -> None:
    _published(world, site, of_table(MAIN_ROUTES))
    late = [(200, {"version": "1.0.0"})] * 2
    site.answers("main", *late, (200, {"version": __version__}), route="status")
    assert _check(world, "--require-apps", "--timeout", "60") == 0, world.said
    assert world.clock.waits == [10.0] * 2


def test_recorded_az_deployment_says_that_the_apps_of_another_version_wait_for_publishing(
    world: World, site: Site
) -> None:
    _published(world, site, of_table(MAIN_ROUTES))
    version = world.repository / "aos" / "version.py"
    version.parent.mkdir()
    version.write_text('__version__ = "9.9.9"\n')
    assert _deploy(world) == 0, world.said
    assert "mismatch  app aos-dev-func: version 2.0.0 runs, 9.9.9 is expected" in world.said
    assert "bash infra/publish.sh rg-aos-dev main" in world.said
    assert _deploy(world, "--require-apps") == 6


@pytest.mark.parametrize("routes", [MAIN_ROUTES, MCP_ROUTES, REALM_ROUTES])
def test_no_shadow_is_seen_among_the_routes_of_an_app(routes: dict[str, Route]) -> None:
    assert describe_shadowed_routes(of_table(routes)) == ""


@pytest.mark.parametrize(
    ("functions", "found"),
    [
        ([listed("a"), listed("b", "{*rest}", ["GET"])], ""),
        ([listed("b"), listed("a", "{*rest}", ["GET"])], "a (route {*rest}) takes"),
        ([listed("b", "x", ["PUT"]), listed("a", "{*rest}", ["GET"])], ""),
        ([listed("a_", "x"), listed("aB", "{y}")], "aB (route {y}) takes the requests of a_"),
        ([listed("b", "v.json"), listed("a", "{name}.json")], "a (route {name}.json) takes"),
        ([{"name": "x/b"}, {"name": "x/a", "config": {"bindings": []}}], ""),
        ([listed("b"), {**listed("a", "{*rest}"), "isDisabled": True}], ""),
        (
            [{"name": "s/x", "properties": listed(*it)} for it in (("b",), ("a", "{*rest}"))],
            "a (route {*rest}) takes the requests of b",
        ),
    ],
)
def test_shadows_are_found_in_what_az_lists(functions: list[dict[str, Any]], found: str) -> None:
    text = describe_shadowed_routes(functions)
    assert text.startswith(found)
    assert bool(text) == bool(found)


def test_the_version_that_is_expected_is_that_of_the_repository() -> None:
    assert read_repository_version(INFRA) == __version__
