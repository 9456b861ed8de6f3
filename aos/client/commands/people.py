"""Lists what waits for a person, and decides and answers it. Entry points: `add_approvals`,
`add_approve`, `add_deny`, `add_questions`, `add_answer`, `describe_wait`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aos.client.http import AosClient
from aos.client.options import add_address, open_client
from aos.client.terminal import Exit, clean, say, say_error, say_json
from aos.domain.json_writer import write_json
from aos.domain.runs.run import RunStatus

LOOK_AGAIN_SECONDS = (0.2, 0.5, 1.0)
"""A run may wait a moment before the lists show for what."""


def add_approvals(commands: Any) -> None:
    """Add the command `approvals`."""
    approvals = commands.add_parser(
        "approvals",
        help="list the tool calls that wait for a decision",
        description="List the tool calls that wait for your decision, oldest first.",
        epilog="`aos approve` and `aos deny` decide about one",
    )
    add_address(approvals)
    approvals.set_defaults(command=_list_approvals)


def add_approve(commands: Any) -> None:
    """Add the command `approve`."""
    approve = commands.add_parser(
        "approve",
        help="let a tool call be made that waits for a decision",
        description="Let a tool call be made, once. The run goes on.",
        epilog="example: aos approve RUN CALL",
    )
    _add_call(approve)
    add_address(approve)
    approve.set_defaults(command=_decide, decision="approve", reason="")


def add_deny(commands: Any) -> None:
    """Add the command `deny`."""
    deny = commands.add_parser(
        "deny",
        help="refuse a tool call that waits for a decision",
        description="Refuse a tool call, once. The model reads the reason, and the run goes on.",
        epilog='example: aos deny RUN CALL --reason "Not before Monday."',
    )
    _add_call(deny)
    deny.add_argument("--reason", metavar="TEXT", default="", help="what the model reads")
    add_address(deny)
    deny.set_defaults(command=_decide, decision="deny")


def add_questions(commands: Any) -> None:
    """Add the command `questions`."""
    questions = commands.add_parser(
        "questions",
        help="list the questions of tools that wait for an answer",
        description="List the questions of tools that wait for your answer, oldest first.",
        epilog="`aos answer` answers one",
    )
    add_address(questions)
    questions.set_defaults(command=_list_questions)


def add_answer(commands: Any) -> None:
    """Add the command `answer`."""
    answer = commands.add_parser(
        "answer",
        help="answer a tool's question",
        description="Answer a tool's question, once. The run goes on.",
        epilog="example: aos answer RUN QUESTION seat=12A window=true",
    )
    answer.add_argument("run", metavar="RUN", help="the run's id, as `aos questions` shows it")
    answer.add_argument("question", metavar="QUESTION", help="the question's id")
    answer.add_argument(
        "fields",
        metavar="NAME=VALUE",
        nargs="*",
        type=_parse_field,
        help="a field of the form; a list is written as JSON",
    )
    actions = answer.add_mutually_exclusive_group()
    actions.add_argument(
        "--decline",
        action="store_const",
        dest="action",
        const="decline",
        default="accept",
        help="do not give what the tool asks for",
    )
    actions.add_argument(
        "--cancel", action="store_const", dest="action", const="cancel", help="make no choice"
    )
    add_address(answer)
    answer.set_defaults(command=_answer)


def describe_wait(client: AosClient, run: Mapping[str, Any]) -> str:
    """Write for which person's decision or answer a run waits, and how to give it."""
    run_id, is_question = run.get("run_id"), run.get("status") == RunStatus.WAITING_INPUT
    for wait in (*LOOK_AGAIN_SECONDS, None):
        items = client.questions() if is_question else client.approvals()
        describe = describe_question if is_question else describe_approval
        found = [describe(item) for item in items if item.get("run_id") == run_id]
        if found:
            return "\n".join([*found, f"then follow the run with: aos tail {run_id}"])
        if wait is not None:
            time.sleep(wait)
    where = "aos questions" if is_question else "aos approvals"  # somebody else's, or decided
    return f"the run {run_id} waits for a person; see: aos show {run_id}, {where}"


def describe_approval(call: Mapping[str, Any]) -> str:
    """Write a tool call that waits, with its arguments and the commands that decide about it."""
    ids = f"{call.get('run_id')} {call.get('tool_call_id')}"
    given = call.get("arguments")
    arguments = given if isinstance(given, str) else write_json(given, ensure_ascii=False)
    return (
        f"the agent {call.get('agent_id')} wants to call {call.get('tool')}\n"
        f"  with {clean(arguments)}\n"
        f"  until {call.get('expires_at')}: aos approve {ids}\n"
        f"  or: aos deny {ids} --reason …"
    )


def describe_question(question: Mapping[str, Any]) -> str:
    """Write a question with its form, and the command that answers it."""
    lines = [f"{question.get('tool')} asks: {clean(str(question.get('message')))}"]
    if question.get("url"):
        lines.append(f"  visit {question['url']}")
    schema = question.get("requested_schema") or {}
    required = schema.get("required") or ()
    for name, field in (schema.get("properties") or {}).items():
        lines.append(f"  {describe_field(name, field, is_required=name in required)}")
    names = " ".join(f"{name}=…" for name in required)
    command = f"aos answer {question.get('run_id')} {question.get('question_id')} {names}"
    lines.append(f"  until {question.get('expires_at')}: {command.strip()}")
    return "\n".join(lines)


def describe_field(name: str, field: Mapping[str, Any], *, is_required: bool) -> str:
    """Write a field of a form: its name, what it means, its type."""
    kind = ", ".join(map(str, field.get("enum") or ())) or field.get("type", "text")
    optional = "" if is_required else ", may be left out"
    text = field.get("description") or field.get("title") or name
    return clean(f"{name}: {text} ({kind}{optional})")


def read_values(given: Sequence[tuple[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of the form. What is not of the type is sent as text, and refused."""
    return {name: _read_value(text, fields.get(name)) for name, text in given}


def _add_call(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="the run's id, as `aos approvals` shows it")
    command.add_argument("call", metavar="CALL", help="the tool call's id")


def _list_approvals(options: argparse.Namespace) -> int:
    calls = open_client(options).approvals()
    nothing = "no tool call waits for your decision"
    return _say_waiting(options, calls, describe_approval, nothing=nothing)


def _decide(options: argparse.Namespace) -> int:
    client = open_client(options)
    told = client.decide(options.run, options.call, options.decision, options.reason)
    if options.json:
        say_json(told)
    else:
        done = "approved" if options.decision == "approve" else "denied"
        say(f"{done}; follow the run with: aos tail {options.run}")
    return Exit.DONE


def _list_questions(options: argparse.Namespace) -> int:
    questions = open_client(options).questions()
    return _say_waiting(options, questions, describe_question, nothing="no tool asks anything")


def _say_waiting(
    options: argparse.Namespace,
    items: Iterable[Mapping[str, Any]],
    describe: Callable[[Mapping[str, Any]], str],
    *,
    nothing: str,
) -> int:
    found = list(items)
    for item in found:
        if options.json:
            say_json(item)
        else:
            say(describe(item))
    if not found and not options.json:
        say_error(nothing)
    return Exit.DONE


def _answer(options: argparse.Namespace) -> int:
    client = open_client(options)
    fields: list[tuple[str, str]] = options.fields
    content = None
    if options.action == "accept" and fields:
        content = read_values(fields, _find_fields(client, options.run, options.question))
    told = client.answer(options.run, options.question, content, action=options.action)
    if options.json:
        say_json(told)
    else:
        say(f"answered: {told.get('action')}")
    return Exit.DONE


def _find_fields(client: AosClient, run_id: str, question_id: str) -> Mapping[str, Any]:
    """The fields of the question's form; none if the question does not wait any more."""
    for question in client.questions():
        if (question.get("run_id"), question.get("question_id")) == (run_id, question_id):
            fields = (question.get("requested_schema") or {}).get("properties")
            return fields if isinstance(fields, dict) else {}
    return {}


def _read_value(text: str, field: Any) -> Any:
    kind = field.get("type") if isinstance(field, dict) else None
    if kind in (None, "string"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parse_field(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
