"""Keeps the cards of an AOS in a folder, for example in Git. Entry points: `add_apply`, `add_diff`,
`add_export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aos.client.card_folders import (
    UNREADABLE,
    Change,
    is_written_as,
    plan_changes,
    read_cards,
    read_folder,
    write_card,
)
from aos.client.commands.cards import describe_problems, put_card, read_rejection
from aos.client.errors import AosClientError
from aos.client.http import AosClient
from aos.client.options import add_address, open_client
from aos.client.terminal import (
    Colour,
    Exit,
    Progress,
    clean,
    confirm,
    paint,
    say,
    say_error,
    say_json,
)
from aos.domain.cards.identity import CardKind
from aos.errors import ConfigurationError

SIGNS = {"create": "+", "update": "~", "delete": "-"}
COLOURS: dict[str, Colour] = {"+": "green", "-": "red"}


def add_apply(commands: Any) -> None:
    """Add the command `apply`."""
    apply = commands.add_parser(
        "apply",
        help="make the cards of an AOS those of a folder (admins)",
        description=(
            "Upload the cards of a folder that differ from those of the AOS: agents/*.json and"
            " mcp-servers/*.json. All are checked there first; if one has errors, nothing is"
            " changed. Then the plan is shown and confirmed. Cards that the folder lacks stay,"
            " without --delete. A card that somebody else changes meanwhile is not overwritten; run"
            " it again. For admins."
        ),
        epilog="example: aos apply config --url https://aos-prod.example.com --yes",
    )
    _add_folder(apply)
    _add_delete(apply, "delete the cards that the folder does not have")
    apply.add_argument("--yes", action="store_true", help="do not ask")
    add_address(apply)
    apply.set_defaults(command=_apply)


def add_diff(commands: Any) -> None:
    """Add the command `diff`."""
    diff = commands.add_parser(
        "diff",
        help="show how a folder's cards differ from those of an AOS (admins)",
        description=(
            "Show what `aos apply` would change. Values of env and headers are not shown. Exit code"
            " 1: something differs. For admins."
        ),
        epilog="example: aos diff config",
    )
    _add_folder(diff)
    _add_delete(diff, "show the cards that the folder does not have, too")
    add_address(diff)
    diff.set_defaults(command=_diff)


def add_export(commands: Any) -> None:
    """Add the command `export`."""
    export = commands.add_parser(
        "export",
        help="write the cards of an AOS into a folder (admins)",
        description=(
            "Write the cards of an AOS into a folder, agents/*.json and mcp-servers/*.json, to keep"
            " it in Git. `aos apply` of that folder then changes nothing. A file that says the same"
            " in another layout stays as it is. For admins."
        ),
        epilog="example: aos export config --url https://aos-dev.example.com",
    )
    _add_folder(export)
    _add_delete(export, "delete the card files of cards that the AOS does not have")
    add_address(export)
    export.set_defaults(command=_export)


def _add_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", metavar="FOLDER", type=Path, help="the folder with the cards")


def _add_delete(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--delete", action="store_true", help=text)


def _plan(client: AosClient, options: argparse.Namespace) -> list[Change]:
    folder = read_folder(options.folder)
    if not folder:
        raise ConfigurationError(
            f"{str(options.folder)!r} has no agents/*.json and no mcp-servers/*.json"
        )
    with Progress(f"reading the cards of {client.url}"):
        there = read_cards(client)
    return plan_changes(folder, there, delete=options.delete)


def _diff(options: argparse.Namespace) -> int:
    changes = _plan(open_client(options), options)
    for change in changes:
        if options.json:
            say_json(change.describe())
        else:
            _say_diff(change)
    return Exit.SAID_NO if changes else Exit.DONE


def _say_diff(change: Change) -> None:
    if not change.diff:
        say(f"{change.name}: {UNREADABLE}")
    for line in change.diff:
        colour = COLOURS.get(line[:1])
        say(clean(line) if colour is None else paint(clean(line), colour))


def _apply(options: argparse.Namespace) -> int:
    client = open_client(options)
    changes = _plan(client, options)
    if not _check(client, changes, options):
        return Exit.SAID_NO
    if not changes:
        say_error(f"{client.url} has these cards already")
        return Exit.DONE
    if not options.yes and not _confirm(client, changes):
        return Exit.SAID_NO
    for number, change in enumerate(changes):
        try:
            status = _carry_out(client, change)
        except AosClientError:
            left = [later.name for later in changes[number:]]
            say_error(f"{number} of {len(changes)} changes are made; not made: {', '.join(left)}")
            raise
        _say_change(change, status, options)
    return Exit.DONE


def _check(client: AosClient, changes: Sequence[Change], options: argparse.Namespace) -> bool:
    """Let the AOS check every card that is to be uploaded; say which has errors."""
    is_valid = True
    with Progress(f"{client.url} checks the cards"):
        for change in changes:
            if change.file is None:
                continue
            try:
                put_card(client, change.file, dry_run=True)
            except AosClientError as error:
                is_valid = False
                _say_rejection(change, read_rejection(change.file, error), options)
    if not is_valid:
        say_error("nothing was changed")
    return is_valid


def _say_rejection(change: Change, status: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        say_json({**change.describe(), "status": status})
        return
    say(f"{change.name}: rejected")
    for line in describe_problems(status):
        say(line)


def _confirm(client: AosClient, changes: Sequence[Change]) -> bool:
    for change in changes:
        say_error(f"{SIGNS[change.action]} {change.name}")
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody can be asked here: give --yes, or look with aos diff")
    if confirm(f"make these {len(changes)} changes at {client.url}?"):
        return True
    say_error("nothing was changed")
    return False


def _carry_out(client: AosClient, change: Change) -> dict[str, Any]:
    """Make a change, if the card is still as it was when the plan was made; return its status."""
    if change.file is not None:
        is_new = change.action == "create"
        return put_card(client, change.file, if_match=change.etag, only_new=is_new)
    if change.kind is CardKind.AGENT:
        client.delete_agent(change.card_id, if_match=change.etag)
    else:
        client.delete_mcp_server(change.card_id, if_match=change.etag)
    return {"state": "removed", "errors": [], "warnings": []}


def _say_change(change: Change, status: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        say_json({**change.describe(), "status": status})
        return
    say(f"{SIGNS[change.action]} {change.name}: {status.get('state')}")
    for line in describe_problems(status):
        say(line)


def _export(options: argparse.Namespace) -> int:
    client = open_client(options)
    with Progress(f"reading the cards of {client.url}"):
        there = read_cards(client)
    files = read_folder(options.folder) if options.folder.exists() else {}
    is_whole = True
    for key, stored in there.items():
        if stored.value is None:
            is_whole = False
            say_error(f"{key[0].blob_name(key[1])} is left out: {UNREADABLE}")
        elif not is_written_as(files.get(key), stored.value):
            path = options.folder / key[0].value / f"{key[1]}.json"
            _write(path, write_card(stored.value))
            _say_file("write", path, options)
    for key, card in files.items():
        if options.delete and key not in there:
            card.path.unlink()
            _say_file("delete", card.path, options)
    return Exit.DONE if is_whole else Exit.SAID_NO


def _write(path: Path, body: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{str(path)!r} cannot be written: {reason}") from error


def _say_file(action: str, path: Path, options: argparse.Namespace) -> None:
    if options.json:
        say_json({"action": action, "file": str(path)})
    else:
        say(f"{action} {path}")
