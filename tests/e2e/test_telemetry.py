"""Three apps export to a capture of Application Insights, as they do with the deployed settings."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aos import __version__
from aos.domain.tools.tool import make_tool_name
from benchmarks.ingestion import Ingestion, run_ingestion
from benchmarks.telemetry import CONNECTION_STRING, make_deployed_settings
from devhost.functions.worker_telemetry import HOST_ROWS
from devhost.laptop import REPOSITORY, Laptop
from tests.contract.mcp.kit import NASTY
from tests.e2e.road import Road, eventually
from tests.infra.test_alerts import QUERIES as OF_THE_PLAN
from tests.kql import make_tables, run
from tests.scripted_model import Request, Say, ScriptedModel, running_model
from tests.webhook_receiver import receiving

QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200"}
BY_HTTP, BY_QUEUE, STREAMED = (digit * 32 for digit in "abc")
CLIENTS_SPAN = "00f067aa0ba902b7"
LEAD, CHILD, PLAIN = "lead", "child", "plain"
CONTENT = "moonshine"
"""A word in every message, instruction, argument, result and answer."""
MODEL_KEY = "sk-planted-model-key"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MANY = 20
"""The alerts look at no fewer requests."""
EXPORT_SECONDS = 15.0
APPS = ("main", "mcp", "realm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was captured, and the runs of the laptop."""

    ingestion: Ingestion
    laptop: Laptop
    runs: dict[str, Any] = field(default_factory=dict)

    @property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tables of Application Insights."""
        return make_tables(list(self.ingestion.items))

    def of_trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The requests and dependencies of a trace."""
        rows = self.tables["requests"] + self.tables["dependencies"]
        return [row for row in rows if row["operation_Id"] == trace_id]

    def is_whole(self, trace_id: str) -> bool:
        """Whether every parent in the trace has come, and the end of the run."""
        rows = self.of_trace(trace_id)
        known = {row["id"] for row in rows} | {CLIENTS_SPAN}
        return all(row["operation_ParentId"] in known for row in rows) and any(
            row["name"] == "process aos-main" for row in rows
        )

    def has_line(self, event: str, *, times: int = 1) -> bool:
        """Whether so many lines of the event have come."""
        found = [row for row in self.tables["traces"] if f'"event": "{event}"' in row["message"]]
        return len(found) >= times


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    root = tmp_path_factory.mktemp("telemetry")
    with (
        run_ingestion() as ingestion,
        running_model() as model,
        receiving() as receiver,
    ):
        receiver.answer = lambda received: (410, {})
        proxy = f"http://127.0.0.1:{ingestion.port}"
        settings = {
            **make_deployed_settings(),
            **QUICK,
            CONNECTION_STRING: ingestion.connection_string,
            HOST_ROWS: "1",
            # What a process sends to another host is seen too.
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "AOS_MODEL": "scripted",
            "AOS_MODEL_API_KEY": MODEL_KEY,
            "AOS_MCP_ALLOWED": f"{sys.executable} {NASTY}",
            "AOS_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "AOS_WEBHOOK_HOSTS": "127.0.0.1",
        }
        with Laptop(root=root, model_endpoint=model.endpoint, settings=settings) as laptop:
            found = Seen(ingestion=ingestion, laptop=laptop)
            road = Road(laptop)
            make_agents(road, model)
            work(road, found, hook=receiver.url)
            road.close()
            yield found


def make_agents(road: Road, model: ScriptedModel) -> None:
    """A leader who delegates to an agent that calls a tool, and an agent of its own."""
    server = road.live_server("nasty", command=sys.executable, args=[NASTY])
    told = {"instructions": f"Speak of {CONTENT}."}
    road.live(CHILD, mcp_tools=[f"{server}/echo"], **told)
    road.live(LEAD, agent_type="LeadershipAgent", team=[CHILD], **told)
    road.live(PLAIN, **told)

    def answer(request: Request) -> Say:
        offered = {tool["function"]["name"] for tool in request.body.get("tools", ())}
        echo = make_tool_name(server, "echo")
        if request.messages[-1]["role"] == "tool" or not offered:
            return Say(f"An answer about {CONTENT}")
        if echo in offered:
            return Say(calls=[(echo, {"text": f"an argument about {CONTENT}"})])
        return Say(calls=[("delegate", {"agent_id": CHILD, "message": f"a task: {CONTENT}"})])

    model.always(answer)


def work(road: Road, seen: Seen, *, hook: str) -> None:
    """A run over HTTP, one on the queue, one streamed; mistakes; then wait for their rows."""
    message = f"a question about {CONTENT}"
    answer = road.call(
        "POST",
        f"/api/agents/{LEAD}/run",
        {"message": message},
        headers={"traceparent": f"00-{BY_HTTP}-{CLIENTS_SPAN}-01"},
    )
    assert (answer.status, answer.body["output"]) == (200, f"An answer about {CONTENT}"), answer
    key = road.send(
        {"agent_id": LEAD, "message": message, "notify": {"url": hook}},
        application_properties={"traceparent": f"00-{BY_QUEUE}-{CLIENTS_SPAN}-01"},
    )
    ((reply, body),) = road.replies_to(key)
    assert body["status"] == "completed", body
    seen.runs.update(http=answer.body, queue=body)
    seen.runs["traceparent"] = str((reply.application_properties or {})[b"traceparent"], "ascii")
    seen.runs["stream"] = stream(road, message)
    assert road.call("GET", f"/api/runs/{1:032x}").status == 404
    for _ in range(MANY):
        road.call("GET", "/api/agents")
    with contextlib.suppress(AssertionError):  # the tests say what has not come
        eventually(lambda: has_come(seen), seconds=EXPORT_SECONDS)


def has_come(seen: Seen) -> bool:
    """Whether all rows of the work have come."""
    return (
        all(map(seen.is_whole, (BY_HTTP, BY_QUEUE, STREAMED)))
        and any(row["name"].startswith("stream ") for row in seen.of_trace(STREAMED))
        and seen.has_line("notification_failed")
        and seen.has_line("app_started", times=len(APPS))
        and len(events(seen, "AgentOperation")) == 5
        and len(events(seen, "MCPToolCall")) == 2
        and sum(not row["success"] for row in seen.tables["requests"]) >= 2 + 2 * 5
    )


def stream(road: Road, message: str) -> str:
    """Start a run and read its events; the text of the answer."""
    request = urllib.request.Request(
        f"{road.main}/api/agents/{PLAIN}/run",
        data=json.dumps({"message": message}).encode(),
        headers={
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "traceparent": f"00-{STREAMED}-{CLIENTS_SPAN}-01",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        text: str = response.read().decode()
    assert "event: run.completed" in text
    return text


def events(seen: Seen, name: str) -> list[dict[str, Any]]:
    """The custom dimensions of the events of a name."""
    rows = seen.tables["customEvents"]
    return [row["customDimensions"].values for row in rows if row["name"] == name]


@pytest.mark.parametrize("trace_id", [BY_HTTP, BY_QUEUE])
def test_a_run_with_a_tool_and_a_delegation_is_one_unbroken_trace_of_the_three_apps(
    seen: Seen, trace_id: str
) -> None:
    rows = seen.of_trace(trace_id)
    assert {row["cloud_RoleName"] for row in rows} == set(APPS)
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)
    roots = [row for row in rows if row["operation_ParentId"] == CLIENTS_SPAN]
    assert len(roots) == 1
    assert all(row["operation_ParentId"] in {*ids, CLIENTS_SPAN} for row in rows)
    lines = [row for row in seen.tables["traces"] if row["operation_Id"] == trace_id]
    ours = [row for row in seen.tables["customEvents"] if row["operation_Id"] == trace_id]
    assert {row["name"] for row in ours} == {"AgentOperation", "MCPToolCall"}
    assert all(row["operation_ParentId"] in ids for row in lines + ours)
    runs = {row["customDimensions"].get("run_id") for row in ours}
    assert len(runs) == 2
    of_runs = [
        row["operation_Id"]
        for table in seen.tables.values()
        for row in table
        if "customDimensions" in row and row["customDimensions"].get("run_id") in runs
    ]
    assert set(of_runs) == {trace_id}


def test_the_reply_on_the_queue_is_of_the_requests_trace(seen: Seen) -> None:
    assert seen.runs["traceparent"].split("-")[1] == BY_QUEUE


def test_each_apps_part_of_a_run_has_its_row_of_requests_and_dependencies(seen: Seen) -> None:
    rows = seen.of_trace(BY_HTTP)
    own = [row for row in rows if row["customDimensions"].get("entry")]
    assert Counter((row["cloud_RoleName"], row["name"], row["source"]) for row in own) == {
        ("main", "POST /api/agents/{agent_id}/run", ""): 1,
        ("main", "process aos-main", "aos-main"): 3,  # the delegation, and the ends of both runs
        ("mcp", "process aos-mcp", "aos-mcp"): 1,
        ("realm", "agent_operation", "aos-realm"): 4,  # two starts, two results
    }
    calls = [row for row in rows if "type" in row and row["type"] != "InProc"]
    assert Counter((row["name"], row["type"], row["target"]) for row in calls) == {
        ("chat scripted", "GenAI | openai", "openai"): 4,
        ("MCP send tools/call echo", "N/A", ""): 1,  # the MCP SDK's own
    }
    (tool,) = [row for row in rows if row["name"] == "execute_tool echo"]
    assert (tool["cloud_RoleName"], tool["type"], tool["success"]) == ("mcp", "InProc", True)
    assert all(row["success"] for row in rows)
    of_bus = [row["customDimensions"].values for row in own if row["source"]]
    assert all(values["message_id"] and values["delivery_count"] == "1" for values in of_bus)


def test_the_events_of_a_stream_are_of_the_trace_of_the_request_that_asked_for_them(
    seen: Seen,
) -> None:
    rows = {row["name"]: row for row in seen.of_trace(STREAMED)}
    door = rows["POST /api/agents/{agent_id}/run"]
    told = rows["stream POST /api/agents/{agent_id}/run"]
    assert told["operation_ParentId"] == door["id"]
    pieces = int(told["customDimensions"].get("pieces"))  # what one read finds is one piece
    assert 1 <= pieces <= seen.runs["stream"].count("\n\n")
    assert rows["agent_operation"]["cloud_RoleName"] == "realm"


def test_custom_events_have_the_names_and_properties_of_the_contract(seen: Seen) -> None:
    run = seen.runs["http"]
    (ended,) = [row for row in events(seen, "AgentOperation") if row["run_id"] == run["run_id"]]
    assert ended == {
        "app": "main",
        "environment": "dev",
        "logger_name": "aos.custom_events",
        "agentId": LEAD,
        "agent_id": LEAD,
        "operation": "run.completed",
        "run_id": run["run_id"],
        "conversation_id": run["conversation_id"],
        "input_tokens": str(run["usage"]["input_tokens"]),
        "output_tokens": str(run["usage"]["output_tokens"]),
    }
    for call in events(seen, "MCPToolCall"):
        assert (call["tool"], call["server"], call["outcome"]) == ("echo", "nasty", "ok")
        assert call["agent_id"] == CHILD
        assert set(call) >= {"run_id", "conversation_id", "tool_call_id"}
    for name in ("AgentInitialized", "AgentStarted"):
        assert {row["agentId"] for row in events(seen, name)} >= {LEAD, CHILD, PLAIN}
    assert events(seen, "ConfigPublished")[0]["catalog_version"]


def test_each_app_says_its_version_first(seen: Seen) -> None:
    lines = [json.loads(row["message"]) for row in seen.tables["traces"] if is_json(row)]
    started = {line["app"]: line["version"] for line in lines if line["event"] == "app_started"}
    assert started == dict.fromkeys(APPS, __version__)
    roles = {row["cloud_RoleName"] for row in seen.tables["traces"]}
    assert roles == set(APPS)


def is_json(row: Mapping[str, Any]) -> bool:
    return bool(row["message"].startswith("{"))


def test_severities_are_those_of_the_lines(seen: Seen) -> None:
    levels = {"debug": 0, "info": 1, "warning": 2, "error": 3}
    for row in seen.tables["traces"]:
        line = json.loads(row["message"])
        assert row["severityLevel"] == levels[line["level"]], line
        assert line.get("trace_id", row["operation_Id"]) == row["operation_Id"], line
    errors = run((REPOSITORY / "infra/queries/errors.kql").read_text(), seen.tables)
    assert {json.loads(row["message"])["event"] for row in errors} == {"notification_failed"}


def test_no_payload_has_words_of_a_conversation_or_a_secret(seen: Seen) -> None:
    payload = json.dumps(seen.ingestion.items)
    settings = (
        seen.laptop.storage_connection_string,
        seen.laptop.servicebus_connection_string,
    )
    keys = [key for text in settings for key in re.findall(r"Key=([^;]{8,})", text)]
    assert keys
    planted = (CONTENT, MODEL_KEY, WEBHOOK_SECRET, *keys)
    assert [word for word in planted if word in payload] == []


def test_everything_is_taken_and_nothing_goes_anywhere_else(seen: Seen) -> None:
    assert seen.ingestion.refused == []
    assert seen.ingestion.elsewhere == []
    assert set(seen.ingestion.by_table()) == {"requests", "dependencies", "traces", "customEvents"}


def every_query() -> dict[str, str]:
    """The queries of the plan, of the workbook, of the alerts and of OPERATIONS.md."""
    infra = REPOSITORY / "infra"
    files = [*(infra / "queries").glob("*.kql"), *(infra / "modules" / "alerts").glob("*.kql")]
    operations = (REPOSITORY / "docs" / "OPERATIONS.md").read_text("utf-8")
    blocks = re.findall(r"```kql\n(.*?)```", operations, re.DOTALL)
    return {
        **{f"plan {name}": query for name, query in OF_THE_PLAN.items()},
        **{f"{path.parent.name} {path.stem}": path.read_text("utf-8") for path in files},
        **{f"operations {number}": block for number, block in enumerate(blocks, 1)},
    }


@pytest.mark.parametrize("name", sorted(every_query()))
def test_every_query_is_answered_from_what_was_captured(seen: Seen, name: str) -> None:
    rows = run(every_query()[name], seen.tables)
    assert rows, "no row"
    for row in rows if "| summarize" in every_query()[name] else ():
        empty = [column for column, value in row.items() if value in (None, "")]
        assert empty == [], row


def test_what_the_queries_answer_is_what_was_done(seen: Seen) -> None:
    def ask(path: str) -> list[dict[str, Any]]:
        return run((REPOSITORY / "infra" / path).read_text("utf-8"), seen.tables)

    activity: Counter[str] = Counter()
    for row in ask("queries/agent-activity.kql"):
        activity[row["customDimensions_agentId"]] += row["count_"]
    assert activity == {LEAD: 2, CHILD: 2, PLAIN: 1}
    tools = ask("queries/mcp-tool-calls.kql")
    assert {row["tool"] for row in tools} == {"echo"}
    assert sum(row["count_"] for row in tools) == 2
    failed = ask("queries/failed-requests.kql")
    assert {row["resultCode"] for row in failed} == {"404", "0"}  # a call, and a message
    assert sum(row["count_"] for row in failed if row["resultCode"] == "0") >= 5
    # A 404 is the caller's mistake, and the message that was given up counts once.
    (rate,) = ask("modules/alerts/error-rate.kql")
    assert 0 < rate["errorRate"] < 5
    (slow,) = ask("modules/alerts/response-time.kql")
    assert 0 < slow["slowest"] < 5000
    assert ask("modules/alerts/health-check-failures.kql") == [{"failures": 0}]
    probes = [row for row in seen.tables["requests"] if row["url"].endswith("/api/health")]
    assert {row["cloud_RoleName"] for row in probes} == set(APPS)
    cost = ask("queries/telemetry-share.kql")
    assert {row["app"] for row in cost} == set(APPS)
    assert min(row["bytes"] for row in cost) > 0
