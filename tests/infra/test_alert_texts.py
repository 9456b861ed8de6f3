"""Alerts and queries name only routes, pages, tables, metrics, events and tiles that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aos.entrypoints.routes import MAIN_ROUTES, MCP_ROUTES, REALM_ROUTES
from tests.infra.bicep_cli import ENVIRONMENTS, INFRA
from tests.infra.inventory import Inventory

ROOT = INFRA.parent
ALERTS = INFRA / "modules" / "alerts"
QUERIES = sorted((*ALERTS.glob("*.kql"), *(INFRA / "queries").glob("*.kql")))
ROUTES = {
    f"/api/{route.path}"
    for routes in (MAIN_ROUTES, MCP_ROUTES, REALM_ROUTES)
    for route in routes.values()
    if "*" not in route.path
}
# The tables that Application Insights has, under the names of the component and of the workspace.
TABLES = {
    "availabilityResults",
    "customEvents",
    "customMetrics",
    "dependencies",
    "exceptions",
    "performanceCounters",
    "requests",
    "traces",
}
WORKSPACE_TABLES = {
    "AppAvailabilityResults",
    "AppDependencies",
    "AppEvents",
    "AppExceptions",
    "AppMetrics",
    "AppPerformanceCounters",
    "AppRequests",
    "AppTraces",
}
METRICS = {
    "Microsoft.ServiceBus/namespaces": {
        "ActiveMessages",
        "DeadletteredMessages",
        "NamespaceCpuUsage",
        "NamespaceMemoryUsage",
    },
    "Microsoft.Storage/storageAccounts": {"Availability"},
    "Microsoft.Web/serverfarms": {"CpuPercentage", "MemoryPercentage"},
    "microsoft.insights/components": {"exceptions/count"},
}


def routes_in(text: str) -> set[str]:
    """The paths below /api that a text names, without what ends a sentence."""
    return {found.rstrip(".,:;") for found in re.findall(r"/api/[^\s'\"|)\]\\]+", text)}


def tables_of(query: str) -> set[str]:
    """The tables that a query reads: its first word, or those of a union."""
    first = query.split("\n", 1)[0].strip()
    if not first.startswith("union"):
        return {first}
    named = re.sub(r"^union|\b\w+=\w+", "", first)
    return {name.strip() for name in named.split(",")}


def events_in(query: str) -> set[str]:
    """The custom events that a query asks for by name."""
    asked = re.findall(r"\bname\s*(?:==|=~|in)\s*(\([^)]*\)|\"[^\"]*\")", query)
    return {name for part in asked for name in re.findall(r"\"([^\"]+)\"", part)}


def _properties(here: Inventory) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and properties of whatever watches or lets through: alerts, tests, probes, sign-in."""
    watching = r"alert|queryrule|webtest|originGroup|sites(/slots)?(/config)?$"
    for item in here.resources:
        if re.search(watching, item["type"], re.IGNORECASE):
            yield item["name"], item["properties"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_route_that_a_deployment_names_is_a_route_of_the_apps(
    environments: dict[str, Inventory], environment: str
) -> None:
    named = {
        (name, route)
        for name, properties in _properties(environments[environment])
        for route in routes_in(json.dumps(properties))
    }
    assert {route for _, route in named} >= {"/api/health"}
    patterns = {"/api/*", "/api/console/*"}  # of Front Door, and what sign-in leaves out
    assert {it for it in named if it[1] not in ROUTES | patterns} == set()


@pytest.mark.parametrize("source", [*ALERTS.glob("*.bicep"), *QUERIES], ids=lambda it: it.name)
def test_every_route_that_an_alert_or_a_query_names_is_a_route_of_the_apps(source: Path) -> None:
    assert routes_in(source.read_text()) - ROUTES == set()


def test_a_route_that_is_not_there_is_seen() -> None:
    assert routes_in("ask GET /api/not-there, then go on") - ROUTES == {"/api/not-there"}
    assert routes_in("'https://${host}/api/health'.") - ROUTES == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_page_that_an_alert_points_to_is_there(
    environments: dict[str, Inventory], environment: str
) -> None:
    here = environments[environment]
    said = " ".join(str(it.get("description", "")) for _, it in _properties(here))
    pages = set(re.findall(r"docs/[\w/-]+\.md", said))
    assert pages >= {"docs/runbooks/incident.md", "docs/runbooks/scaling.md", "docs/OPERATIONS.md"}
    assert [page for page in pages if not (ROOT / page).exists()] == []
    assert "runbook of" not in said
    workbook = here.one("Microsoft.Insights/workbooks")["properties"]["serializedData"]
    titles = [item["name"].lower() for item in json.loads(workbook)["items"]]
    for tile in re.findall(r"the workbook, ([\w ]+)", said):
        assert [title for title in titles if title.startswith(tile)], tile


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_metric_that_an_alert_reads_is_one_of_its_resource(
    environments: dict[str, Inventory], environment: str
) -> None:
    alerts = environments[environment].of("Microsoft.Insights/metricAlerts").values()
    criteria = [
        criterion
        for alert in alerts
        for criterion in alert["properties"]["criteria"].get("allOf", [])
    ]
    assert criteria
    unknown = {
        (criterion["metricNamespace"], criterion["metricName"])
        for criterion in criteria
        if criterion["metricName"] not in METRICS.get(criterion["metricNamespace"], set())
    }
    assert unknown == set()


@pytest.mark.parametrize("query", QUERIES, ids=lambda it: it.stem)
def test_every_table_that_a_query_reads_is_one_of_application_insights(query: Path) -> None:
    known = WORKSPACE_TABLES if query.stem == "telemetry-share" else TABLES
    assert tables_of(query.read_text()) <= known


@pytest.mark.parametrize("query", QUERIES, ids=lambda it: it.stem)
def test_every_custom_event_that_a_query_asks_for_is_sent_by_the_apps(query: Path) -> None:
    sent = "".join(path.read_text() for path in (ROOT / "aos").rglob("*.py"))
    assert [name for name in events_in(query.read_text()) if f'"{name}"' not in sent] == []


def test_the_events_of_the_queries_are_found() -> None:
    asked = set().union(*(events_in(query.read_text()) for query in QUERIES))
    assert asked == {
        "AgentInitialized",
        "AgentOperation",
        "AgentStarted",
        "AgentStopped",
        "MCPToolCall",
    }
