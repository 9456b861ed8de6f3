"""Uploads and checks card files. Entry points: `add_put`, `add_validate`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aos.client.card_files import CardFile, read_card_file
from aos.client.errors import AosClientError
from aos.client.http import AosClient
from aos.client.options import add_address, open_client, parse_seconds
from aos.client.terminal import Exit, Progress, clean, say, say_error, say_json
from aos.domain.cards.identity import CardKind

LISTED_SECONDS = 120.0
POLL_SECONDS = 0.5


def add_put(commands: Any) -> None:
    """Add the command `put`."""
    put = commands.add_parser(
        "put",
        help="upload a card and wait until it is live (admins)",
        description=(
            "Upload the card of an agent or of an MCP server, and wait until it is live: an agent"
            " takes requests, a server's tools are listed. A card with errors changes nothing."
            " For admins."
        ),
        epilog="example: aos put agents/ceo.json",
    )
    put.add_argument("files", metavar="FILE", nargs="+", help="a card file")
    put.add_argument("--dry-run", action="store_true", help="only say what AOS would answer")
    put.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=parse_seconds,
        default=LISTED_SECONDS,
        help=f"seconds to wait for a server's tools (default {LISTED_SECONDS:g})",
    )
    add_address(put)
    put.set_defaults(command=_put)


def add_validate(commands: Any) -> None:
    """Add the command `validate`."""
    validate = commands.add_parser(
        "validate",
        help="check card files before they are uploaded",
        description=(
            "Check agent and MCP server cards on this disk: the same rules and texts as the status"
            " files. What the operator allows comes from the same settings as the apps'"
            " (AOS_MODELS, AOS_MCP_ALLOWED, AOS_KEY_VAULT_URI). With --url the AOS there checks"
            " them too, by its own settings, servers and tools, and changes nothing (admins)."
            " Exit code 1: a card is broken."
        ),
        epilog="example: aos validate agents/ mcp-servers/github.json",
    )
    validate.add_argument(
        "paths", metavar="FILE|FOLDER", nargs="+", help="a card file, or a folder with .json files"
    )
    add_address(validate)
    validate.set_defaults(command=_validate)


def put_card(client: AosClient, card: CardFile, **conditions: Any) -> dict[str, Any]:
    """Upload a card, or ask what would be if it were; return its status."""
    if card.kind is CardKind.AGENT:
        return client.put_agent(card.card_id, card.body, **conditions)
    return client.put_mcp_server(card.card_id, card.body, **conditions)


def describe_problems(status: Mapping[str, Any]) -> list[str]:
    """Write the errors and warnings of a status, with path and hint."""
    return [
        clean(f"  {name.removesuffix('s')} at {p.get('path')}: {p.get('message')}; {p.get('hint')}")
        for name in ("errors", "warnings")
        for p in status.get(name) or ()
    ]


def read_rejection(card: CardFile, error: AosClientError) -> dict[str, Any]:
    """Return the status of a card that AOS refused; raises the error if it is about else."""
    if error.error.get("code") != "invalid_card":
        raise error
    details = error.error.get("details")
    errors = details.get("errors", []) if isinstance(details, Mapping) else []
    return {card.kind.id_field: card.card_id, "state": "rejected", "errors": errors, "warnings": []}


def _put(options: argparse.Namespace) -> int:
    client = open_client(options)
    cards = [read_card_file(Path(file)) for file in options.files]
    is_live = True
    for card in cards:
        try:
            status = put_card(client, card, dry_run=options.dry_run)
        except AosClientError as error:
            status = read_rejection(card, error)
        told = {"file": str(card.path), **status}
        if card.kind is CardKind.MCP_SERVER and status["state"] == "active" and not options.dry_run:
            with Progress(f"waiting for the tools of {card.card_id}"):
                told["server"] = client.wait_for_tools(
                    card.card_id, timeout_seconds=options.timeout
                )
        is_live &= _say_put(told, options, would_be=options.dry_run)
    return Exit.DONE if is_live else Exit.SAID_NO


def _say_put(told: Mapping[str, Any], options: argparse.Namespace, *, would_be: bool) -> bool:
    """Say what became of a card; return whether that is good."""
    state, server = told["state"], told.get("server")
    if options.json:
        say_json(told)
    else:
        words = {"active": "live", "disabled": 'disabled: the card says "enabled": false'}
        said = words.get(state, state)
        say(f"{told['file']}: {'would be ' if would_be else ''}{said}")
        for line in describe_problems(told):
            say(line)
        if server is not None:
            say(f"  {describe_server(server)}")
    return not told.get("errors") and (server is None or server.get("state") == "ready")


def describe_server(server: Mapping[str, Any]) -> str:
    """Write an MCP server as last seen: its state, and its tools or its error."""
    head = f"server {server.get('server_id')}: {server.get('state') or 'not started yet'}"
    if server.get("error"):
        return f"{head}: {clean(str(server['error']))}"
    names = ", ".join(str(tool.get("name")) for tool in server.get("tools") or ())
    return f"{head}: {names or 'no tools'}"


def _validate(options: argparse.Namespace) -> int:
    from aos.client.validation import check_files, make_row

    reports = check_files([Path(path) for path in options.paths], environ=os.environ)
    rows = [make_row(report) for report in reports]
    client = open_client(options) if options.url else None
    if client is not None:
        rows = [_check_there(client, row) for row in rows]
    for row in rows:
        if options.json:
            say_json(row)
        else:
            say("\n".join([f"{row['file']}: {row['state']}", *describe_problems(row)]))
    if client is not None and not options.json:
        servers = list(client.tools())
        say_error(f"servers and tools at {client.url}:" if servers else "no MCP server there")
        for server in servers:
            say_error(f"  {describe_server(server)}")
    return Exit.SAID_NO if any(row["errors"] for row in rows) else Exit.DONE


def _check_there(client: AosClient, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row as the AOS at the address sees it; a card that is broken here stays so."""
    if row["errors"]:
        return row
    card = read_card_file(Path(row["file"]))
    try:
        return {**row, **put_card(client, card, dry_run=True)}
    except AosClientError as error:
        return {**row, **read_rejection(card, error)}
