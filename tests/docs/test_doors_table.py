"""docs/CLIENTS.md has a table of all doors: each route that asks an agent, and every cell."""

from __future__ import annotations

import re

from aos.domain.envelope import REQUESTS_QUEUE
from aos.entrypoints.routes import MAIN_ROUTES
from tests.docs.pages import ROOT

ROWS = [
    *("address", "client", "conversation", "sync", "stream", "resume", "cancel", "approval"),
    *("structured output", "the client's own tools", "files", "usage", "idempotency", "auth"),
]
NO_DOOR = {"z_not_found"}


def section() -> str:
    page = (ROOT / "docs" / "CLIENTS.md").read_text("utf-8")
    return page.partition("## The doors\n")[2].partition("\n## ")[0]


def read_table() -> tuple[list[str], dict[str, list[str]]]:
    """The doors, and each row's cells by its name."""
    lines = [line for line in section().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    heads = [cell for cell in re.findall(r"\[([^]]+)\]\([^)]+\)", lines[0])]
    return heads, {row[0]: row[1:] for row in cells[1:]}


def test_every_cell_of_the_table_is_filled() -> None:
    doors, rows = read_table()
    assert list(rows) == ROWS
    for name, cells in rows.items():
        assert len(cells) == len(doors), name
        assert all(cells), name


def test_every_route_that_asks_an_agent_is_in_the_table() -> None:
    """A route that the OpenAPI document does not describe speaks a protocol of its own."""
    addresses = re.findall(r"`(/api/[^`]*)`", section())
    doors = [
        f"/api/{route.path.removesuffix('/{*path}')}"
        for name, route in MAIN_ROUTES.items()
        if name == "run_agent"
        or (not route.documented and route.access != "anyone" and name not in NO_DOOR)
    ]
    assert len(doors) >= 8
    missing = [path for path in doors if not any(_is_below(path, one) for one in addresses)]
    assert missing == []
    assert f"`{REQUESTS_QUEUE}`" in section()


def _is_below(path: str, address: str) -> bool:
    """Whether a route is an address of the table, or below or above one."""
    return f"{path}/".startswith(f"{address}/") or f"{address}/".startswith(f"{path}/")
