"""What does the trigger table of docs/ARCHITECTURE.md say, and what would it say of an app?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

from aos.entrypoints.routes import MAIN_ROUTES, MCP_ROUTES, REALM_ROUTES

REPOSITORY = Path(__file__).parents[1]
ROUTES = {"main": MAIN_ROUTES, "mcp": MCP_ROUTES, "realm": REALM_ROUTES}
Trigger: TypeAlias = dict[str, Any]


def documented_triggers() -> set[tuple[str, ...]]:
    """App, function, kind and subject of each row."""
    page = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    table = page.split("<!-- triggers -->")[1].split("<!-- /triggers -->")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]
    return {tuple(row[:4]) for row in rows if row[0] in ROUTES}


def rows_of(
    app: str, here: dict[str, Trigger], in_azure: dict[str, Trigger]
) -> set[tuple[str, ...]]:
    """The rows of an app, from its triggers by function on a laptop and in Azure."""
    return {
        (app, f"`{name}`", *described(app, name, trigger, in_azure[name]))
        for name, trigger in here.items()
    }


def described(app: str, name: str, here: Trigger, in_azure: Trigger) -> tuple[str, str]:
    """The kind and the subject of a trigger, in the words of the table."""
    match here["type"]:
        case "httpTrigger":
            return "HTTP", f"`{ROUTES[app][name].title}`"
        case "serviceBusTrigger":
            sessions = " (sessions)" if here.get("isSessionsEnabled") else ""
            return "Service Bus", f"`{entity(here)}`{sessions}"
        case "queueTrigger":
            return "storage queue", f"`{here['queueName']}`"
        case kind:
            assert kind == "timerTrigger"
            pauses = [pause(trigger["schedule"]) for trigger in (here, in_azure)]
            return "timer", f"every {pauses[0]}, in Azure {pauses[1]}"


def entity(trigger: Trigger) -> str:
    """What a Service Bus trigger reads: a queue, or a topic's subscription."""
    if "queueName" in trigger:
        return str(trigger["queueName"])
    return f"{trigger['topicName']}/Subscriptions/{trigger['subscriptionName']}"


def pause(schedule: str) -> str:
    """`*/5 * * * * *` → `5 s`, `0 */5 * * * *` → `5 min`."""
    found = re.fullmatch(r"(0 )?\*/(\d+)( \*)+", schedule)
    assert found is not None
    return f"{found[2]} {'min' if found[1] else 's'}"
