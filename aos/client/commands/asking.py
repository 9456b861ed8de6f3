"""Asks an agent and talks with it on the command line. Entry points: `add_ask`, `add_chat`."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from aos.client.advice import advise
from aos.client.chat import Chat
from aos.client.commands.people import describe_wait
from aos.client.http import ENDED, FOR_PEOPLE
from aos.client.options import add_address, open_client, parse_key, parse_seconds
from aos.client.terminal import Exit, Progress, clean, is_interactive, say, say_error, say_json
from aos.client.waits import RUN_SECONDS
from aos.domain.runs.run import RunStatus


def add_ask(commands: Any) -> None:
    """Add the command `ask`."""
    ask = commands.add_parser(
        "ask",
        help="ask an agent and print the answer",
        description=(
            "Ask an agent, wait for the end of the run, and print the agent's answer. If the run"
            " waits for a person's decision or answer, say for which, and stop waiting (exit code"
            " 3); the run goes on."
        ),
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
        type=parse_key,
        help="idempotency key: a repeat with the same key does not run again",
    )
    ask.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=parse_seconds,
        default=RUN_SECONDS,
        help=f"seconds to wait (default {RUN_SECONDS:g}); the run continues after that",
    )
    ask.add_argument(
        "--wait-for-people", action="store_true", help="keep waiting while a person is asked"
    )
    add_address(ask)
    ask.set_defaults(command=_ask)


def add_chat(commands: Any) -> None:
    """Add the command `chat`."""
    chat = commands.add_parser(
        "chat",
        help="talk with an agent",
        description=(
            "Talk with an agent in this terminal. The answer appears as the model writes it;"
            " approvals and questions of tools are decided in place. Ctrl-C while the agent works"
            " asks whether to cancel the run; Ctrl-C or Ctrl-D at the prompt ends the chat. Without"
            " a terminal each line of stdin is a message."
        ),
        epilog="example: aos chat ceo --conversation board",
    )
    chat.add_argument("agent", metavar="AGENT", help="the agent's id")
    chat.add_argument("--conversation", metavar="ID", help="the conversation to continue or begin")
    add_address(chat)
    chat.set_defaults(command=_chat)


def _chat(options: argparse.Namespace) -> int:
    conversation_id = options.conversation or f"chat-{uuid.uuid4().hex[:12]}"
    client = open_client(options)
    if is_interactive() and not options.json:
        say_error(f"conversation {conversation_id}; Ctrl-D ends the chat")
    chat = Chat(
        client,
        agent_id=options.agent,
        conversation_id=conversation_id,
        as_json=options.json,
    )
    return chat.talk()


def _ask(options: argparse.Namespace) -> int:
    message = sys.stdin.read() if options.message == "-" else options.message
    client = open_client(options)
    with Progress(f"waiting for {options.agent}"):
        run = client.ask(
            options.agent,
            message,
            conversation_id=options.conversation,
            key=options.idempotency_key,
            timeout_seconds=options.timeout,
            files=options.file,
            stop_for_people=not options.wait_for_people,
        )
    if options.json:
        say_json(run)
    elif run.get("status") == RunStatus.COMPLETED:
        output = str(run.get("output"))
        say(clean(output) if sys.stdout.isatty() else output)
    elif run.get("status") in FOR_PEOPLE:
        say_error(describe_wait(client, run))
    else:
        say_error(describe_end(run))
    return find_exit(run)


def find_exit(run: Mapping[str, Any]) -> Exit:
    """The exit code that tells the state of a run."""
    if run.get("status") == RunStatus.COMPLETED:
        return Exit.DONE
    if run.get("status") in FOR_PEOPLE:
        return Exit.WAITS
    return Exit.SAID_NO if run.get("status") in ENDED else Exit.GOES_ON


def describe_end(run: Mapping[str, Any]) -> str:
    """Write about a run that did not complete: the error, and what to do."""
    run_id = run.get("run_id")
    error = run.get("error")
    if isinstance(error, dict):
        advice = advise(run)
        lines = [f"{run.get('status')}: {error.get('code')}: {error.get('message')}"]
        lines += [f"what to do: {advice}"] if advice else []
        lines.append(f"how it came: aos show {run_id}")
        return "\n".join(lines)
    if run.get("status") in ENDED:
        return f"{run.get('status')} (run {run_id})"
    waiting = run.get("waiting")
    why = f": {waiting.get('reason')}" if isinstance(waiting, Mapping) else ""
    return f"the run {run_id} is still {run.get('status')}{why}; follow it with: aos tail {run_id}"
