"""Alerts and the workbook are those of the deployment plan."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.infra.bicep_cli import ENVIRONMENTS, INFRA
from tests.infra.inventory import Inventory

CRITICAL, WARNING = "critical", "warning"
MONITORED: dict[str, tuple[str, str, str, str, float]] = {
    # name: who is told, metric, how it is taken, how compared, with what
    "ServiceBusQueueDepth": (CRITICAL, "ActiveMessages", "Average", "GreaterThan", 1000),
    "StorageInaccessible": (CRITICAL, "Availability", "Average", "LessThan", 99),
    "HighErrorRate": (WARNING, "exceptions/count", "Count", "GreaterThan", 10),
    "DeadLetters": (WARNING, "DeadletteredMessages", "Maximum", "GreaterThan", 0),
}
OF_THE_PLAN: dict[str, tuple[str, str, str, str, float]] = {
    f"Utilization-{name}": (WARNING, name, "Average", "GreaterThan", 80)
    for name in ("CpuPercentage", "MemoryPercentage")
}
OF_A_PREMIUM_BUS: dict[str, tuple[str, str, str, str, float]] = {
    f"Utilization-{name}": (WARNING, name, "Maximum", "GreaterThan", 80)
    for name in ("NamespaceCpuUsage", "NamespaceMemoryUsage")
}
NOT_COUNTED = (
    "| where isempty(customDimensions.entry) and isempty(operation_SyntheticSource)\n"
    '| where url !contains "/api/health" and url !contains "/api/status"\n'
)
# The alert counts calls by the host's rows and messages by the app's, at their first delivery: one
# message that is given up is delivered ten times, and would page.
COUNTED_ONCE = (
    "| where isempty(operation_SyntheticSource)\n"
    '| where url !contains "/api/health" and url !contains "/api/status"\n'
    "| where (isempty(customDimensions.entry) and isnotempty(url))"
    ' or tostring(customDimensions.delivery_count) == "1"\n'
)
MINIMUM = "| where total >= "
# The queries of the plan, as its chapters give them.
QUERIES = {
    "request-volume": "requests\n| summarize count() by bin(timestamp, 5m)\n| render timechart\n",
    "error-rate": (
        "requests\n| summarize total=count(), failures=countif(success==false) "
        "by bin(timestamp, 5m)\n| extend errorRate = (failures * 100.0) / total\n"
        "| render timechart\n"
    ),
    "agent-activity": (
        'customEvents\n| where name == "AgentOperation"\n| summarize count() by '
        "tostring(customDimensions.agentId), bin(timestamp, 1h)\n| render columnchart\n"
    ),
    "errors": (
        "traces\n| where severityLevel >= 3\n| project timestamp, message, severityLevel\n"
        "| order by timestamp desc\n"
    ),
    "agent-lifecycle": (
        'customEvents\n| where name in ("AgentInitialized", "AgentStarted", "AgentStopped")\n'
        "| summarize count() by name, bin(timestamp, 1h)\n"
    ),
    "failed-requests": (
        "requests\n| where success == false\n| summarize count() by bin(timestamp, 5m), "
        "resultCode\n| render timechart\n"
    ),
    "agent-operations": (
        'traces\n| where message contains "agent"\n| summarize count() by bin(timestamp, 5m), '
        "severityLevel\n| render timechart\n"
    ),
    "mcp-tool-calls": (
        'customEvents\n| where name == "MCPToolCall"\n| extend tool = '
        "tostring(customDimensions.tool)\n| summarize count() by bin(timestamp, 5m), tool\n"
        "| render timechart\n"
    ),
}

TELEMETRY_SHARE = (
    "union isfuzzy=true withsource=tableName AppRequests, AppDependencies, AppTraces, "
    "AppExceptions, AppEvents, AppMetrics, AppPerformanceCounters, AppAvailabilityResults\n"
    "| summarize rows = count(), bytes = sum(_BilledSize) by app = AppRoleName, tableName\n"
    "| order by bytes desc\n"
)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_metrics_have_the_thresholds_of_the_plan(
    environments: dict[str, Inventory], environment: str
) -> None:
    expected = dict(MONITORED)
    if environment != "dev":
        expected |= OF_THE_PLAN
    if environment.startswith("prod"):
        expected |= OF_A_PREMIUM_BUS
    found = {
        name: alert["properties"]
        for name, alert in environments[environment].of("Microsoft.Insights/metricAlerts").items()
        if "allOf" in alert["properties"]["criteria"]
    }
    assert {name: _metric(alert) for name, alert in found.items()} == expected
    for name in MONITORED:
        assert (found[name]["windowSize"], found[name]["evaluationFrequency"]) == ("PT5M", "PT1M")
    for name in ("ServiceBusQueueDepth", "DeadLetters"):
        assert found[name]["criteria"]["allOf"][0]["dimensions"] == [
            {"name": "EntityName", "operator": "Include", "values": ["*"]}
        ]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_app_that_is_down_pages(environments: dict[str, Inventory], environment: str) -> None:
    here = environments[environment]
    probes = here.of("Microsoft.Insights/webtests")
    alerts = here.of("Microsoft.Insights/metricAlerts")
    for app, name in here.outputs["functionAppNames"].items():
        probe = probes[f"health-{name}"]["properties"]
        assert probe["Request"]["RequestUrl"] == (
            f"{here.outputs['functionAppUrls'][app]}/api/health"
        )
        assert len(probe["Locations"]) == 3
        alert = alerts[f"FunctionAppDown-{name}"]["properties"]
        often = (300, "PT5M") if environment != "dev" else (900, "PT15M")
        assert (probe["Frequency"], alert["windowSize"]) == often
        assert alert["criteria"]["failedLocationCount"] == 2
        assert (_told(alert), alert["severity"]) == (CRITICAL, 0)


def test_without_availability_tests_nothing_waits_for_them(
    variants: dict[str, Inventory],
) -> None:
    here = variants["downgraded"]
    assert here.of("Microsoft.Insights/webtests") == {}
    alerts = here.of("Microsoft.Insights/metricAlerts")
    assert [name for name in alerts if name.startswith("FunctionAppDown")] == []
    assert "HighErrorRate" in alerts


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_queries_over_the_telemetry_have_the_thresholds_of_the_plan(
    environments: dict[str, Inventory], environment: str
) -> None:
    rules = environments[environment].of("Microsoft.Insights/scheduledQueryRules")
    seen = {}
    for name, rule in rules.items():
        (criterion,) = rule["properties"]["criteria"]["allOf"]
        (group,) = rule["properties"]["actions"]["actionGroups"]
        assert criterion["operator"] == "GreaterThan"
        assert criterion["metricMeasureColumn"] in criterion["query"]
        seen[name] = (_level(group), criterion["threshold"], rule["properties"]["windowSize"])
    assert seen == {
        "ErrorRate": (CRITICAL, 5, "PT5M"),
        "ResponseTime": (WARNING, 5000, "PT15M"),
        "HealthCheckFailures": (WARNING, 0, "PT5M"),
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_happens_to_resources_is_read_from_the_activity_log(
    environments: dict[str, Inventory], environment: str
) -> None:
    alerts = environments[environment].of("Microsoft.Insights/activityLogAlerts")
    told = {
        name: [
            _level(target["actionGroupId"])
            for target in alert["properties"]["actions"]["actionGroups"]
        ]
        for name, alert in alerts.items()
    }
    assert told == {"UnhealthyResources": [CRITICAL], "DeploymentFailures": [WARNING]}
    conditions = alerts["DeploymentFailures"]["properties"]["condition"]["allOf"]
    assert {"field": "status", "equals": "Failed"} in conditions
    conditions = alerts["UnhealthyResources"]["properties"]["condition"]["allOf"]
    assert {"field": "category", "equals": "ResourceHealth"} in conditions


def test_severity_says_whether_it_pages(environments: dict[str, Inventory]) -> None:
    for inventory in environments.values():
        for alert in inventory.of("Microsoft.Insights/metricAlerts").values():
            pages = _told(alert["properties"]) == CRITICAL
            assert (alert["properties"]["severity"] < 2) is pages, alert["name"]


def test_critical_alerts_page_and_warnings_go_by_mail(variants: dict[str, Inventory]) -> None:
    everything = variants["everything"]
    groups = everything.of("Microsoft.Insights/actionGroups")
    critical = groups["ag-aos-critical-staging-b"]["properties"]
    assert [mail["emailAddress"] for mail in critical["emailReceivers"]] == ["pager@example.test"]
    assert [phone["phoneNumber"] for phone in critical["smsReceivers"]] == ["5550100"]
    warning = groups["ag-aos-warning-staging-b"]["properties"]
    assert [mail["emailAddress"] for mail in warning["emailReceivers"]] == ["team@example.test"]
    assert all(len(group["properties"]["groupShortName"]) <= 12 for group in groups.values())
    for alert in everything.of("Microsoft.Insights/metricAlerts").values():
        named = [target["actionGroupId"] for target in alert["properties"]["actions"]]
        assert [name.rpartition("/")[2] for name in named][1:] == ["a"]


def test_the_address_of_the_pager_is_in_no_snapshot(
    snapshots: dict[str, dict[str, Any]],
) -> None:
    assert "pager.example.test/hook" not in json.dumps(snapshots["everything"])


def test_the_queries_are_those_of_the_plan_with_what_is_not_counted_left_out() -> None:
    files = {path.stem: path.read_text() for path in (INFRA / "queries").glob("*.kql")}
    assert files.pop("telemetry-share") == TELEMETRY_SHARE
    plain = {name: "".join(_without_filters(query)) for name, query in files.items()}
    assert plain == QUERIES


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_whatever_counts_requests_leaves_probes_and_the_apps_own_rows_out(
    environments: dict[str, Inventory], environment: str
) -> None:
    """Also those that Front Door, the platform and availability tests make of this deployment."""
    here = environments[environment]
    queries = {path.stem: path.read_text() for path in (INFRA / "queries").glob("*.kql")}
    for name, rule in here.of("Microsoft.Insights/scheduledQueryRules").items():
        queries[name] = rule["properties"]["criteria"]["allOf"][0]["query"]
    counting = {name: query for name, query in queries.items() if query.startswith("requests\n")}
    assert set(counting) == {
        *("request-volume", "failed-requests", "error-rate"),
        *("ErrorRate", "ResponseTime", "HealthCheckFailures"),
    }
    del counting["HealthCheckFailures"]  # counts probes, and nothing else
    probed = _probed(here)
    assert "/api/health" in probed
    for name, query in counting.items():
        counted = COUNTED_ONCE if name == "ErrorRate" else NOT_COUNTED
        assert query.startswith(f"requests\n{counted}")
        assert all(f'url !contains "{path}"' in query for path in {*probed, "/api/status"})


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_share_or_a_percentile_needs_a_minimum_of_requests(
    environments: dict[str, Inventory], environment: str
) -> None:
    rules = environments[environment].of("Microsoft.Insights/scheduledQueryRules")
    for name, minimum in (
        ("ErrorRate", "| where total >= 20 or failures >= 5\n"),
        ("ResponseTime", "| where total >= 20\n"),
    ):
        query = rules[name]["properties"]["criteria"]["allOf"][0]["query"]
        assert "total = sum(itemCount)" in query, "count() counts rows, of which some are sampled"
        assert minimum in query
        assert "at least 20" in rules[name]["properties"]["description"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_workbook_shows_every_query_as_it_stands(
    environments: dict[str, Inventory], environment: str
) -> None:
    workbook = environments[environment].one("Microsoft.Insights/workbooks")["properties"]
    shown = json.loads(workbook["serializedData"])
    *plan, share = (item["content"] for item in shown["items"])
    files = {path.stem: path.read_text() for path in (INFRA / "queries").glob("*.kql")}
    # What a row is billed as is known to the workspace, not to the component.
    assert share["query"] == files.pop("telemetry-share")
    assert share["resourceType"] == "microsoft.operationalinsights/workspaces"
    workspace = environments[environment].one("Microsoft.OperationalInsights/workspaces")
    assert share["crossComponentResources"] == [workspace["id"]]
    assert {item["query"] for item in plan} == set(files.values())
    assert {item["resourceType"] for item in plan} == {"microsoft.insights/components"}
    assert workbook["sourceId"].endswith(f"/appi-aos-{environment}")


def _without_filters(query: str) -> list[str]:
    """The lines of a query but those that say what is not counted."""
    return [
        line
        for line in query.splitlines(keepends=True)
        if line not in NOT_COUNTED.splitlines(keepends=True) and not line.startswith(MINIMUM)
    ]


def _probed(here: Inventory) -> set[str]:
    """The paths that are asked by machines all day."""
    tests = here.of("Microsoft.Insights/webtests").values()
    groups = here.of("Microsoft.Cdn/profiles/originGroups").values()
    sites = here.of("Microsoft.Web/sites").values()
    checks = {site["properties"]["siteConfig"].get("healthCheckPath") for site in sites}
    return {
        *(urlsplit(test["properties"]["Request"]["RequestUrl"]).path for test in tests),
        *(group["properties"]["healthProbeSettings"]["probePath"] for group in groups),
        *(path for path in checks if path),
    }


def _metric(alert: dict[str, Any]) -> tuple[str, str, str, str, float]:
    (criterion,) = alert["criteria"]["allOf"]
    return (
        _told(alert),
        criterion["metricName"],
        criterion["timeAggregation"],
        criterion["operator"],
        criterion["threshold"],
    )


def _told(alert: dict[str, Any]) -> str:
    return _level(alert["actions"][0]["actionGroupId"])


def _level(group_id: str) -> str:
    level: str = group_id.rpartition("/")[2].split("-")[2]
    return level
