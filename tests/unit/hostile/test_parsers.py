"""Every reader of outside text takes a time that grows with the text and no faster."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import azure.functions as func
import pytest

from aos.adapters.telemetry.trace_context import make_child_traceparent
from aos.domain.cards.assessment import find_nearest
from aos.domain.cards.check import assess_card
from aos.domain.cards.cron import find_cron_problem
from aos.domain.cards.hosts import find_url_problem, is_public_address, is_public_host
from aos.domain.cards.identity import CardKind, is_card_id
from aos.domain.cards.operator_rules import find_command_problem
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import parse_secret_reference
from aos.domain.conversation_ids import is_conversation_id
from aos.domain.json_reader import parse_json
from aos.domain.json_writer import known_json, write_json
from aos.domain.tools.offer import read_json_object
from aos.domain.tools.tool import cut_for_model, make_tool_name
from aos.entrypoints.http.callers import AuthPolicy
from aos.entrypoints.http.principals import read_principal
from aos.entrypoints.http.queries import Query
from aos.entrypoints.ids import is_tool_call_id, parse_run_id, parse_traceparent
from aos.entrypoints.requests import RunBody, read_object, validate
from aos.entrypoints.routes import MAIN_ROUTES
from devhost.amqp.message import Properties
from devhost.functions.ncrontab import parse_schedule
from devhost.functions.settings import seconds
from devhost.servicebus.filters.sql import SqlFilter

Text = Callable[[int], str]
SMALL, LARGE = 64 * 1024, 256 * 1024
MOST_TIMES = 9.0
"""Four times the text may take four times the time; the square would take sixteen times."""
NEGLIGIBLE_SECONDS = 0.004


def _repeated(piece: str, *, before: str = "", after: str = "") -> Text:
    return lambda size: before + piece * (size // len(piece)) + after


JSON_TEXTS: dict[str, Text] = {
    "escaped quotes, then brackets": lambda n: '"' + r"\"" * (n // 2) + "[" * 40,
    "quotes without an end": lambda n: "[" * 31 + '"' * (n // 2) + "{" * (n // 2),
    "backslashes": _repeated("\\", before='"'),
    "odd backslashes": _repeated('\\\\\\"', before="[" * 40),
    "strings": _repeated('"[",', before="["),
    "open brackets": _repeated("["),
    "brackets in a string": _repeated("[", before='"'),
    "closed brackets": _repeated("]", before="[" * 40),
    "empty objects": _repeated("{},", before="[", after="0]"),
    "members under a long name": lambda n: (
        '{"' + "k" * (n // 2) + '":[' + "0," * (n // 4) + '"\\u0001"]}'
    ),
    "a name that is there twice": lambda n: (
        '{"' + "k" * (n // 2) + '":0,"' + "k" * (n // 2) + '":0}'
    ),
    "digits": _repeated("9"),
    "numbers": _repeated("9" * 4_000 + ",", before="["),
    "fractions": _repeated("0." + "1" * 400 + ",", before="["),
    "exponents": _repeated("1e9", before="["),
    "lines": _repeated("\n"),
    "lines before an error": _repeated("\n", after="x"),
    "control characters": _repeated("\x01", before='"'),
    "half pairs": _repeated("\\ud800", before='"', after='"'),
    "no characters": _repeated("\ufffe"),
    "white space": _repeated(" \t\r\n", before="{"),
}


def _run_body(text: str) -> Any:
    return validate(RunBody, read_object(text.encode(), max_bytes=2 * LARGE))


def _card(text: str) -> Any:
    return assess_card(
        text.encode(), kind=CardKind.AGENT, card_id="ceo", policy=CardPolicy(mcp_allowed=())
    )


def _request(**given: Any) -> func.HttpRequest:
    request = {"method": "GET", "url": "http://localhost/api/runs", "body": b"", **given}
    return func.HttpRequest(**request)


def _principal(text: str) -> Any:
    return read_principal({"x-ms-client-principal": base64.b64encode(text.encode()).decode()})


def _query(text: str) -> Any:
    query = Query(_request(url=f"http://localhost/api/runs?{text}", params={}))
    for read in (query.limit, query.after, query.status, query.agent_id):
        with contextlib.suppress(Exception):
            read()


def _key(text: str) -> Any:
    return AuthPolicy(mode="keys").identify_caller(
        _request(headers={"x-functions-key": text}), MAIN_ROUTES["list_runs"]
    )


def _like(text: str) -> None:
    for pattern in ("%a%a%a%a%a%a%b", "%_a_a%", "%" + "a" * 300 + "b%", "a%b"):
        SqlFilter(f"p LIKE '{pattern}'").matches(_Message(application_properties={"p": text}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A message as filters see it."""

    application_properties: dict[Any, Any]
    properties: Properties = field(default_factory=Properties)


PLAIN_TEXTS: dict[str, Text] = {
    "letters": _repeated("a"),
    "letters and an end": _repeated("a", after="!"),
    "digits": _repeated("9"),
    "spaces": _repeated(" "),
    "dots": _repeated("a."),
    "dashes": _repeated("a-"),
    "stars": _repeated("*/"),
    "commas": _repeated("1-2/3,"),
    "quotes": _repeated("'"),
    "double quotes": _repeated('"'),
    "brackets": _repeated("["),
    "parentheses": _repeated("("),
    "signs": _repeated("- "),
    "NOTs": _repeated("NOT "),
    "colons": _repeated("0:"),
    "slashes": _repeated("../"),
    "percents": _repeated("%"),
    "a pair": _repeated("a=b&"),
    "a reference": _repeated("SecretName=", before="@Microsoft.KeyVault(", after=")"),
    "references": _repeated("@Microsoft.KeyVault("),
    "an address": _repeated("1:", before="https://[", after="]"),
    "a host": _repeated("a.", before="https://"),
    "users": _repeated("a@", before="https://"),
    "wide letters": _repeated("ß"),
    "half pairs": _repeated("\ud800"),
}
JSON_READERS: dict[str, Callable[[str], Any]] = {
    "JSON": lambda text: parse_json(text.encode(), max_bytes=2 * LARGE),
    "a run's body": _run_body,
    "a card": _card,
    "a model's arguments": read_json_object,
    "a principal": _principal,
}
PLAIN_READERS: dict[str, Callable[[str], Any]] = {
    "cron": find_cron_problem,
    "cron of five": lambda text: find_cron_problem(f"{text} {text} {text} * *"),
    "a secret's reference": lambda text: parse_secret_reference(text, server_id="s", name="n"),
    "a host": is_public_host,
    "an address": is_public_address,
    "a URL": lambda text: find_url_problem(text, frozenset()),
    "a command": lambda text: find_command_problem("npx", text.split(" "), CardPolicy()),
    "a card id": is_card_id,
    "a near name": lambda text: find_nearest(text, ("max_turns", "memory", "a" * 60), cutoff=0.0),
    "an offered name": lambda text: make_tool_name("fs", text),
    "a result": cut_for_model,
    "a JSON value": lambda text: write_json(known_json([text])),
    "a traceparent": parse_traceparent,
    "a traceparent's child": make_child_traceparent,
    "a conversation id": is_conversation_id,
    "a tool call id": is_tool_call_id,
    "a run id": parse_run_id,
    "a query": _query,
    "a query's limit": lambda text: _query(f"limit={text}&after={text}"),
    "a key": _key,
    "a principal's id": lambda text: read_principal({"x-ms-client-principal-id": text}),
    "a local schedule": parse_schedule,
    "a time span": seconds,
    "a filter": SqlFilter,
    "LIKE": _like,
}


def _least_seconds(read: Callable[[str], Any], text: str) -> float:
    """Without the garbage collector, whose time depends on what else is in memory."""
    taken = []
    gc.disable()
    try:
        for _ in range(4):
            began = time.process_time()
            with contextlib.suppress(Exception):  # whether it is refused, other tests say
                read(text)
            taken.append(time.process_time() - began)
            if taken[-1] < NEGLIGIBLE_SECONDS:
                break
    finally:
        gc.enable()
    return min(taken)


def _hold(read: Callable[[str], Any], make: Text) -> None:
    least = _least_seconds(read, make(1024))
    assert least < 0.25, f"{least:.3f} s for 1 KiB"  # else the larger ones would take for ever
    small = max(_least_seconds(read, make(SMALL)), NEGLIGIBLE_SECONDS)
    assert small < 0.5, f"{small:.3f} s for 64 KiB"
    large = _least_seconds(read, make(LARGE))
    assert large <= MOST_TIMES * small, f"{large:.3f} s for four times what took {small:.3f} s"


@pytest.mark.parametrize("reader", JSON_READERS)
@pytest.mark.parametrize("text", JSON_TEXTS)
def test_hostile_json_is_read_in_linear_time(text: str, reader: str) -> None:
    _hold(JSON_READERS[reader], JSON_TEXTS[text])


@pytest.mark.parametrize("reader", PLAIN_READERS)
def test_hostile_text_is_read_in_linear_time(reader: str) -> None:
    for name, make in PLAIN_TEXTS.items():
        try:
            _hold(PLAIN_READERS[reader], make)
        except AssertionError as error:
            raise AssertionError(f"{reader}, {name}: {error}") from error


CARDS: dict[str, Text] = {
    "unknown fields": lambda n: json.dumps(
        {"agent_id": "ceo"} | {f"f{i}": 1 for i in range(n // 12)}
    ),
    "unknown limits": lambda n: json.dumps({"limits": {f"f{i}": 1 for i in range(n // 12)}}),
    "a long field": lambda n: json.dumps({"agent_id": "ceo", "ab" * (n // 2): 1}),
    "a long word": lambda n: json.dumps({"purpose": "x", "on_busy": "en" * (n // 2)}),
    "colleagues that are no ids": lambda n: json.dumps({"team": ["A"] * (n // 5)}),
    "tools that are no ids": lambda n: json.dumps({"mcp_tools": ["a b"] * (n // 7)}),
    "schedules": lambda n: json.dumps({"wake": {"schedules": [{"cron": "x"}] * (n // 15)}}),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_of_the_largest_size_is_judged_at_once(name: str) -> None:
    body = CARDS[name](60 * 1024)
    assert _least_seconds(_card, body) < 0.5
