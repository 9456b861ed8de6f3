"""Pauses AOS, lists dead letters, deletes conversations. Entry points: `add_switch`,
`add_dead_letters`, `add_delete`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aos.client.options import add_address, add_limit, open_client
from aos.client.terminal import Exit, say, say_json


def add_dead_letters(commands: Any) -> None:
    """Add the command `dead-letters`."""
    letters = commands.add_parser(
        "dead-letters",
        help="list dead letters and what to do about each (admins)",
        description="List the messages that were given up, why, and what to do.",
        epilog="example: aos dead-letters --entity aos-requests",
    )
    letters.add_argument("--entity", metavar="NAME", help="only of this queue or subscription")
    add_limit(letters)
    add_address(letters)
    letters.set_defaults(command=_list_dead_letters)


def add_delete(commands: Any) -> None:
    """Add the command `delete`."""
    delete = commands.add_parser(
        "delete",
        help="delete conversations",
        description="Delete conversations with all that belongs to them: yours; admins, any.",
        epilog="example: aos delete chat-1 chat-2",
    )
    delete.add_argument(
        "conversations", metavar="CONVERSATION_ID", nargs="+", help="the conversation's id"
    )
    add_address(delete)
    delete.set_defaults(command=_delete)


def add_switch(commands: Any) -> None:
    """Add the commands `pause` and `resume`."""
    pause = commands.add_parser(
        "pause",
        help="admit nothing new; what was admitted goes on",
        description="Pause AOS: HTTP requests are refused, requests on the queue wait. For admins.",
        epilog='example: aos pause --reason "the CRM is being moved"',
    )
    pause.add_argument("--reason", metavar="TEXT", default="", help="what callers and admins read")
    add_address(pause)
    pause.set_defaults(command=_pause)
    resume = commands.add_parser(
        "resume", help="end a pause", description="End a pause of AOS. For admins."
    )
    add_address(resume)
    resume.set_defaults(command=_resume)


def _list_dead_letters(options: argparse.Namespace) -> int:
    for item in open_client(options).dead_letters(entity=options.entity, limit=options.limit):
        if options.json:
            say_json(item)
        else:
            where = f"{item.get('entity')} {item.get('sequence_number')}"
            say(f"{where}: {item.get('reason')}; {item.get('advice')}")
    return Exit.DONE


def _delete(options: argparse.Namespace) -> int:
    client = open_client(options)
    for name in options.conversations:
        gone = client.delete_conversation(name)
        if options.json:
            say_json(gone)
        else:
            say(f"conversation {name} will be deleted")
    return Exit.DONE


def _pause(options: argparse.Namespace) -> int:
    return _say_pause(open_client(options).pause(options.reason), options)


def _resume(options: argparse.Namespace) -> int:
    return _say_pause(open_client(options).resume(), options)


def _say_pause(state: Mapping[str, Any], options: argparse.Namespace) -> int:
    pause = state.get("pause")
    if options.json:
        say_json(state)
    elif isinstance(pause, dict):
        reason = f": {pause['reason']}" if pause.get("reason") else ""
        say(f"paused by {pause.get('by')} at {pause.get('paused_at')}{reason}")
    else:
        say("not paused")
    return Exit.DONE
