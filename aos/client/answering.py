"""Lists the questions of tools and answers them on the command line. Entry points: `add_questions`,
`add_answer`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from aos.client.http import AosClient
from aos.domain.json_writer import write_json

AddAddress: TypeAlias = Callable[[argparse.ArgumentParser], None]


def add_questions(commands: Any, add_address: AddAddress) -> None:
    """Add the command `questions`."""
    questions = commands.add_parser(
        "questions",
        help="list the questions of tools that wait for an answer",
        description="List the questions of tools that wait for your answer, oldest first.",
        epilog="`aos answer` answers one",
    )
    add_address(questions)
    questions.set_defaults(command=_list_questions)


def add_answer(commands: Any, add_address: AddAddress) -> None:
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


def _list_questions(options: argparse.Namespace) -> int:
    found = list(AosClient(url=options.url, key=options.key).questions())
    for question in found:
        if options.json:
            _say(write_json(question, ensure_ascii=False))
        else:
            _say(_describe(question))
    if not found and not options.json:
        sys.stderr.write("no tool asks anything\n")
    return 0


def _answer(options: argparse.Namespace) -> int:
    client = AosClient(url=options.url, key=options.key)
    fields: list[tuple[str, str]] = options.fields
    content = None
    if options.action == "accept" and fields:
        content = _read_values(fields, _find_fields(client, options.run, options.question))
    told = client.answer(options.run, options.question, content, action=options.action)
    _say(write_json(told, indent=2) if options.json else f"answered: {told.get('action')}")
    return 0


def _describe(question: Mapping[str, Any]) -> str:
    """Write a question with its form, and the command that answers it."""
    lines = [f"{question.get('tool')} asks: {question.get('message')}"]
    if question.get("url"):
        lines.append(f"  visit {question['url']}")
    schema = question.get("requested_schema") or {}
    required = schema.get("required") or ()
    for name, field in (schema.get("properties") or {}).items():
        kind = ", ".join(map(str, field.get("enum") or ())) or field.get("type", "text")
        optional = "" if name in required else ", may be left out"
        lines.append(
            f"  {name}: {field.get('description') or field.get('title') or name} ({kind}{optional})"
        )
    names = " ".join(f"{name}=…" for name in required)
    command = f"aos answer {question.get('run_id')} {question.get('question_id')} {names}"
    lines.append(f"  until {question.get('expires_at')}: {command.strip()}")
    return "\n".join(lines)


def _find_fields(client: AosClient, run_id: str, question_id: str) -> Mapping[str, Any]:
    """The fields of the question's form; none if the question does not wait any more."""
    for question in client.questions():
        if (question.get("run_id"), question.get("question_id")) == (run_id, question_id):
            fields = (question.get("requested_schema") or {}).get("properties")
            return fields if isinstance(fields, dict) else {}
    return {}


def _read_values(given: Sequence[tuple[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the types of the form. What is not of the type is sent as text, and refused."""
    return {name: _read_value(text, fields.get(name)) for name, text in given}


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


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
