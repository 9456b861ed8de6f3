"""Implements the `aos` command: `ask`, `runs`, `replay`, `dead-letters`, `validate`, `pause`,
`resume`. Entry point: `main`.

Exit codes: 0 success; 1 AOS refused or a check failed; 2 the command could not be carried out
(wrong usage, nothing found). `--json` prints output for programs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from aos.client.address import DEFAULT_URL
from aos.client.answering import add_answer, add_questions
from aos.client.errors import AosClientError, AosUnreachable
from aos.client.usage import add_usage
from aos.client.waits import RUN_SECONDS
from aos.domain.json_writer import write_json
from aos.domain.runs.run import RunStatus
from aos.domain.wire_time import to_wire_time
from aos.errors import ConfigurationError
from aos.version import __version__

DONE, SAID_NO, CANNOT = 0, 1, 2
DEFAULT_LIMIT = 50
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = make_parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except AosUnreachable as error:
        _say(str(error), to=sys.stderr)
        return CANNOT
    except AosClientError as error:
        _say(f"{error.error.get('code')}: {error}", to=sys.stderr)
        return SAID_NO
    except ConfigurationError as error:
        _say(str(error), to=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # for example `aos runs | head`, where the reader closes the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _ask(options: argparse.Namespace) -> int:
    message = sys.stdin.read() if options.message == "-" else options.message
    run = _open_client(options).run(
        options.agent,
        message,
        conversation_id=options.conversation,
        key=options.idempotency_key,
        timeout_seconds=options.timeout,
        files=options.file,
    )
    completed = run.get("status") == RunStatus.COMPLETED
    if options.json:
        _say(_write_json(run))
    elif completed:
        _say(str(run.get("output")))
    else:
        _say(_describe_end(run), to=sys.stderr)
    return DONE if completed else SAID_NO


def _list_runs(options: argparse.Namespace) -> int:
    found = _open_client(options).runs(
        agent_id=options.agent, status=options.status, since=options.since, limit=options.limit
    )
    runs = list(found)
    if options.json:
        for run in runs:
            _say(write_json(run, ensure_ascii=False))
        return DONE
    row = "{:<24}  {:<16}  {:<20}  {:<36}  {}"
    _say(row.format("CREATED", "STATUS", "AGENT", "RUN", "CONVERSATION"))
    for run in runs:
        fields = ("created_at", "status", "agent_id", "run_id", "conversation_id")
        _say(row.format(*(str(run.get(name)) for name in fields)))
    return DONE


def _replay(options: argparse.Namespace) -> int:
    run = _open_client(options).replay(options.run)
    _say(_write_json(run) if options.json else f"{run.get('run_id')} ({run.get('status')})")
    return DONE


def _list_dead_letters(options: argparse.Namespace) -> int:
    for item in _open_client(options).dead_letters(entity=options.entity, limit=options.limit):
        if options.json:
            _say(write_json(item, ensure_ascii=False))
        else:
            where = f"{item.get('entity')} {item.get('sequence_number')}"
            _say(f"{where}: {item.get('reason')}; {item.get('advice')}")
    return DONE


def _validate(options: argparse.Namespace) -> int:
    from aos.client.validation import check_files, write_json_reports, write_text_reports

    found = check_files([Path(path) for path in options.paths], environ=os.environ)
    _say(write_json_reports(found) if options.json else write_text_reports(found))
    return DONE if all(report.is_valid for report in found) else SAID_NO


def _pause(options: argparse.Namespace) -> int:
    return _say_pause(_open_client(options).pause(options.reason), options)


def _resume(options: argparse.Namespace) -> int:
    return _say_pause(_open_client(options).resume(), options)


def _say_pause(state: Mapping[str, Any], options: argparse.Namespace) -> int:
    pause = state.get("pause")
    if options.json:
        _say(_write_json(state))
    elif isinstance(pause, dict):
        reason = f": {pause['reason']}" if pause.get("reason") else ""
        _say(f"paused by {pause.get('by')} at {pause.get('paused_at')}{reason}")
    else:
        _say("not paused")
    return DONE


def _delete(options: argparse.Namespace) -> int:
    client = _open_client(options)
    gone = [client.delete_conversation(name) for name in options.conversations]
    if options.json:
        _say(_write_json(gone))
    else:
        for name in options.conversations:
            _say(f"conversation {name} will be deleted")
    return DONE


def _open_client(options: argparse.Namespace) -> Any:
    from aos.client.http import AosClient

    return AosClient(url=options.url, key=options.key)


def _describe_end(run: Mapping[str, Any]) -> str:
    """Write one line about a run that did not complete."""
    error = run.get("error")
    if isinstance(error, dict):
        return f"{run.get('status')}: {error.get('code')}: {error.get('message')}"
    if run.get("status") in {status.value for status in RunStatus if status.has_ended}:
        return f"{run.get('status')} (run {run.get('run_id')})"
    if run.get("status") == RunStatus.WAITING_INPUT:
        return (
            f"a tool of the run {run.get('run_id')} asks a person; `aos questions` shows what, and"
            " how to answer"
        )
    return f"the run {run.get('run_id')} is still {run.get('status')}; `aos runs` shows its end"


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="aos",
        description="Ask agents, list runs, check cards, delete conversations, pause AOS.",
        epilog="exit codes: 0 success; 1 AOS refused or a check failed; 2 wrong usage or no file",
    )
    parser.add_argument("--version", action="version", version=f"aos {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_ask(commands)
    _add_runs(commands)
    _add_replay(commands)
    _add_dead_letters(commands)
    add_usage(commands, _add_address)
    add_questions(commands, _add_address)
    add_answer(commands, _add_address)
    _add_validate(commands)
    _add_delete(commands)
    _add_switch(commands)
    return parser


def _add_ask(commands: Any) -> None:
    ask = commands.add_parser(
        "ask",
        help="ask an agent and print the answer",
        description="Ask an agent, wait for the end of the run, and print the agent's answer.",
        epilog='example: aos ask ceo "What should we do first?" --conversation board',
    )
    ask.add_argument("agent", metavar="AGENT", help="the agent's id")
    ask.add_argument("message", metavar="MESSAGE", help='the message; "-" reads it from stdin')
    ask.add_argument(
        "--file",
        metavar="PATH",
        action="append",
        default=[],
        help="an image or a file to send with the message; may be given several times",
    )
    ask.add_argument("--conversation", metavar="ID", help="the conversation to continue or begin")
    ask.add_argument(
        "--idempotency-key",
        metavar="KEY",
        type=_parse_key,
        help="idempotency key: a repeat with the same key does not run again",
    )
    ask.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_parse_seconds,
        default=RUN_SECONDS,
        help=f"seconds to wait (default {RUN_SECONDS:g}); the run continues after that",
    )
    _add_address(ask)
    ask.set_defaults(command=_ask)


def _add_runs(commands: Any) -> None:
    runs = commands.add_parser(
        "runs",
        help="list runs, newest first",
        description="List your runs, newest first. With an admin's key: all runs.",
        epilog="example: aos runs --agent ceo --status failed --since 2h",
    )
    runs.add_argument("--agent", metavar="ID", help="only runs of this agent")
    runs.add_argument(
        "--status",
        choices=[status.value for status in RunStatus],
        help="only runs with this status",
    )
    runs.add_argument(
        "--since",
        metavar="TIME",
        type=_parse_since,
        help="only runs since then: 30m, 2h, 7d, or a time such as 2026-01-31T12:00:00Z",
    )
    runs.add_argument(
        "--limit",
        metavar="N",
        type=_parse_count,
        default=DEFAULT_LIMIT,
        help=f"the most runs to list (default {DEFAULT_LIMIT})",
    )
    _add_address(runs)
    runs.set_defaults(command=_list_runs)


def _add_replay(commands: Any) -> None:
    replay = commands.add_parser(
        "replay",
        help="ask an ended run again as a new one",
        description="Ask an ended run again and print the id of the new run.",
        epilog="example: aos replay 57a3b865-dcd0-4dd6-bf17-2b8cab74b0d8",
    )
    replay.add_argument("run", metavar="RUN", help="the run's id")
    _add_address(replay)
    replay.set_defaults(command=_replay)


def _add_dead_letters(commands: Any) -> None:
    letters = commands.add_parser(
        "dead-letters",
        help="list dead letters and what to do about each (admins)",
        description="List the messages that were given up, why, and what to do.",
        epilog="example: aos dead-letters --entity aos-requests",
    )
    letters.add_argument("--entity", metavar="NAME", help="only of this queue or subscription")
    letters.add_argument(
        "--limit",
        metavar="N",
        type=_parse_count,
        default=DEFAULT_LIMIT,
        help=f"the most to list (default {DEFAULT_LIMIT})",
    )
    _add_address(letters)
    letters.set_defaults(command=_list_dead_letters)


def _add_validate(commands: Any) -> None:
    validate = commands.add_parser(
        "validate",
        help="check card files before they are uploaded",
        description=(
            "Check agent and MCP server cards on this disk: the same rules and texts as the status"
            " files. What the operator allows comes from the same settings as the apps'"
            " (AOS_MODELS, AOS_MCP_ALLOWED, AOS_KEY_VAULT_URI). Exit code 1: a card is broken."
        ),
        epilog="example: aos validate agents/ mcp-servers/github.json",
    )
    validate.add_argument(
        "paths", metavar="FILE|FOLDER", nargs="+", help="a card file, or a folder with .json files"
    )
    validate.add_argument("--json", action="store_true", help="print JSON: a list of statuses")
    validate.set_defaults(command=_validate)


def _add_delete(commands: Any) -> None:
    delete = commands.add_parser(
        "delete",
        help="delete conversations",
        description="Delete conversations with all that belongs to them: yours; admins, any.",
        epilog="example: aos delete chat-1 chat-2",
    )
    delete.add_argument("conversations", metavar="CONVERSATION_ID", nargs="+")
    _add_address(delete)
    delete.set_defaults(command=_delete)


def _add_switch(commands: Any) -> None:
    pause = commands.add_parser(
        "pause",
        help="admit nothing new; what was admitted goes on",
        description="Pause AOS: HTTP requests are refused, requests on the queue wait. For admins.",
        epilog='example: aos pause --reason "the CRM is being moved"',
    )
    pause.add_argument("--reason", metavar="TEXT", default="", help="what callers and admins read")
    _add_address(pause)
    pause.set_defaults(command=_pause)
    resume = commands.add_parser(
        "resume", help="end a pause", description="End a pause of AOS. For admins."
    )
    _add_address(resume)
    resume.set_defaults(command=_resume)


def _add_address(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url", help=f"where AOS is (default: the variable AOS_URL, else {DEFAULT_URL})"
    )
    command.add_argument("--key", help="a function key, if keys are on (default: AOS_KEY)")
    command.add_argument("--json", action="store_true", help="print JSON")


def _parse_since(text: str) -> str:
    """Convert a span before now, or a time, to the API's form."""
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            moment = datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        else:
            moment = datetime.fromisoformat(text)
        return str(to_wire_time(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a span (30m, 2h, 7d) nor a time (2026-01-31T12:00:00Z)"
        raise argparse.ArgumentTypeError(message) from None


def _parse_key(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    raise argparse.ArgumentTypeError(
        f"the key {text!r} is not valid; write printable ASCII characters"
    )


def _parse_seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text):
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")


def _parse_count(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,6}", text) and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def _write_json(value: Any) -> str:
    return write_json(value, indent=2, ensure_ascii=False)


def _say(text: str, *, to: TextIO | None = None) -> None:
    print(text, file=to or sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
