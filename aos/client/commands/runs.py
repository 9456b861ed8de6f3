"""Lists, shows, follows, cancels and replays runs. Entry points: `add_runs`, `add_show`,
`add_tail`, `add_cancel`, `add_replay`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aos.client.advice import advise
from aos.client.commands.asking import find_exit
from aos.client.commands.people import describe_wait
from aos.client.http import ENDED, FOR_PEOPLE, AosClient
from aos.client.options import add_address, add_limit, open_client, parse_seconds, parse_since
from aos.client.terminal import Exit, clean, paint, say, say_json
from aos.client.timeline import HIDDEN, describe_event
from aos.domain.runs.run import RunStatus
from aos.domain.wire_time import to_wire_time

POLL_SECONDS = 1.0
NEW_SECONDS = 60
"""`tail` begins with the runs of so long ago; the list of runs is some seconds behind."""
MAX_FOLLOWED = 100
ROW = "{:<24}  {:<16}  {:<20}  {:<36}  {}"
FIELDS = ("created_at", "status", "agent_id", "run_id", "conversation_id")


def add_runs(commands: Any) -> None:
    """Add the command `runs`."""
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
        type=parse_since,
        help="only runs since then: 30m, 2h, 7d, or a time such as 2026-01-31T12:00:00Z",
    )
    add_limit(runs)
    add_address(runs)
    runs.set_defaults(command=_list_runs)


def add_show(commands: Any) -> None:
    """Add the command `show`."""
    show = commands.add_parser(
        "show",
        help="show a run: its state, its error and what to do, and its timeline",
        description=(
            "Show a run: its state, what it waits for, its error and what to do about it, and its"
            " timeline of turns, tool calls and waits. --json has the run and its events."
        ),
        epilog="example: aos show 57a3b865-dcd0-4dd6-bf17-2b8cab74b0d8",
    )
    _add_run(show)
    add_address(show)
    show.set_defaults(command=_show)


def add_tail(commands: Any) -> None:
    """Add the command `tail`."""
    tail = commands.add_parser(
        "tail",
        help="follow a run's events as they happen, or the runs that come",
        description=(
            "Print the events of a run as they happen, to its end; the exit code tells how it"
            " ended. Without RUN: print your runs of the last minute, and then each that comes or"
            " changes; Ctrl-C ends it."
        ),
        epilog="example: aos tail 57a3b865-dcd0-4dd6-bf17-2b8cab74b0d8",
    )
    tail.add_argument("run", metavar="RUN", nargs="?", help="the run's id")
    tail.add_argument(
        "--timeout", metavar="SECONDS", type=parse_seconds, help="stop after so many seconds"
    )
    add_address(tail)
    tail.set_defaults(command=_tail)


def add_cancel(commands: Any) -> None:
    """Add the command `cancel`."""
    cancel = commands.add_parser(
        "cancel",
        help="cancel a run",
        description="Cancel a run. A run that has ended does not change.",
        epilog="example: aos cancel 57a3b865-dcd0-4dd6-bf17-2b8cab74b0d8",
    )
    _add_run(cancel)
    add_address(cancel)
    cancel.set_defaults(command=_cancel)


def add_replay(commands: Any) -> None:
    """Add the command `replay`."""
    replay = commands.add_parser(
        "replay",
        help="ask an ended run again as a new one",
        description="Ask an ended run again and print the id of the new run.",
        epilog="example: aos replay 57a3b865-dcd0-4dd6-bf17-2b8cab74b0d8",
    )
    _add_run(replay)
    add_address(replay)
    replay.set_defaults(command=_replay)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="the run's id")


def _list_runs(options: argparse.Namespace) -> int:
    client = open_client(options)
    found = list(
        client.runs(
            agent_id=options.agent, status=options.status, since=options.since, limit=options.limit
        )
    )
    if not options.json:
        say(ROW.format("CREATED", "STATUS", "AGENT", "RUN", "CONVERSATION"))
    for run in found:
        if options.json:
            say_json(run)
        else:
            say(_write_row(run))
    return Exit.DONE


def _show(options: argparse.Namespace) -> int:
    client = open_client(options)
    run = client.get_run(options.run)
    events = list(client.past_events(options.run))
    if options.json:
        say_json({"run": run, "events": events})
        return Exit.DONE
    for name, value in _list_facts(run):
        say(f"{name:<13} {value}")
    if run.get("status") in FOR_PEOPLE:
        say(describe_wait(client, run))
    say("\ntimeline")
    for event in events:
        if event.get("type") not in HIDDEN:
            say(f"  {describe_event(event)}")
    if run.get("output"):
        say(f"\noutput\n{clean(str(run['output']))}")
    return Exit.DONE


def _list_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is to be said of a run before its timeline."""
    usage = run.get("usage") or {}
    tokens = f"{usage.get('input_tokens', 0)} in, {usage.get('output_tokens', 0)} out"
    facts = [
        ("run", str(run.get("run_id"))),
        ("status", _paint_status(str(run.get("status")))),
        ("agent", str(run.get("agent_id"))),
        ("conversation", str(run.get("conversation_id"))),
        ("model", str(run.get("model") or "none yet")),
        ("tokens", tokens),
    ]
    times = [("created", "created_at"), ("started", "started_at"), ("ended", "ended_at")]
    facts += [(word, str(run[name])) for word, name in times if run.get(name)]
    others = [("replay of", "replay_of"), ("delegated by", "parent_run_id"), ("sent by", "sent_by")]
    for word, name in others:
        facts += [(word, str(run[name]))] if run.get(name) else []
    facts += [("delegated", str(child)) for child in run.get("child_run_ids") or ()]
    waiting, error, advice = run.get("waiting"), run.get("error"), advise(run)
    if isinstance(waiting, Mapping):
        facts.append(("waits", f"{waiting.get('reason')} (until {waiting.get('until')})"))
        facts.append(("ends with", str(waiting.get("ends_with"))))
    if isinstance(error, Mapping):
        facts.append(("error", f"{error.get('code')}: {clean(str(error.get('message')))}"))
    return facts + ([("what to do", advice)] if advice else [])


def _paint_status(status: str) -> str:
    if status == RunStatus.COMPLETED:
        return paint(status, "green")
    return paint(status, "red" if status in ENDED else "yellow")


def _tail(options: argparse.Namespace) -> int:
    client = open_client(options)
    if options.run is None:
        return _tail_runs(client, options)
    for event in client.events(options.run, timeout_seconds=options.timeout):
        if options.json:
            say_json(event)
        elif event.get("type") not in HIDDEN:
            say(describe_event(event))
    return find_exit(client.get_run(options.run))


def _tail_runs(client: AosClient, options: argparse.Namespace) -> int:
    end = None if options.timeout is None else time.monotonic() + options.timeout
    told: dict[str, str] = {}
    while True:
        since = datetime.now(UTC) - timedelta(seconds=NEW_SECONDS)
        new = list(client.runs(since=str(to_wire_time(since)), limit=MAX_FOLLOWED))
        known = {str(run.get("run_id")) for run in new}
        going = [run_id for run_id, status in told.items() if status not in ENDED]
        later = [client.get_run(run_id) for run_id in going if run_id not in known]
        for run in [*later, *reversed(new)]:
            run_id, status = str(run.get("run_id")), str(run.get("status"))
            if told.get(run_id) != status:
                told[run_id] = status
                if options.json:
                    say_json(run)
                else:
                    say(_write_row(run))
        told = dict(list(told.items())[-MAX_FOLLOWED:])
        if end is not None and time.monotonic() >= end:
            return Exit.DONE
        time.sleep(POLL_SECONDS)


def _write_row(run: Mapping[str, Any]) -> str:
    return ROW.format(*(str(run.get(name)) for name in FIELDS))


def _cancel(options: argparse.Namespace) -> int:
    run = open_client(options).cancel(options.run)
    if options.json:
        say_json(run)
    elif run.get("status") in ENDED:
        say(f"{run.get('run_id')} has ended: {run.get('status')}")
    else:
        say(f"{run.get('run_id')} will be cancelled")
    return Exit.DONE


def _replay(options: argparse.Namespace) -> int:
    run = open_client(options).replay(options.run)
    if options.json:
        say_json(run)
    else:
        say(f"{run.get('run_id')} ({run.get('status')})")
    return Exit.DONE
