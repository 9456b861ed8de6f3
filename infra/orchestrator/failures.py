"""Would the same call work in a minute, or never?

The class hangs on Azure's innermost error code, never on the words around it: a template error
may speak of a "timeout", and an InternalServerError of "validation". The outer codes say only
that something inside failed, and the inner ones are often JSON within a message's text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.advice import advice_for
from orchestrator.az import Answer

WRAPPERS = frozenset(
    {
        "badrequest",
        "conflict",
        "deploymentfailed",
        "deploymentstackdeploymentfailed",
        "invalidtemplatedeployment",
        "multipleerrorsoccurred",
        "preflightvalidationcheckfailed",
        "resourcedeploymentfailure",
    }
)
ENVIRONMENTAL = frozenset(
    {
        "429",
        "500",
        "502",
        "503",
        "504",
        "anotheroperationinprogress",
        "badgateway",
        "deploymentactive",
        "gatewaytimeout",
        "internalservererror",
        "operationtimedout",
        "operationtimeout",
        "principalnotfound",
        "requesttimeout",
        "retryableerror",
        "serverbusy",
        "servertimeout",
        "serviceunavailable",
        "toomanyrequests",
    }
)
# What az itself says when no answer came: such a failure has no code of Azure's.
_NETWORK = re.compile(
    r"Max retries exceeded with url|Connection aborted|Connection reset by peer|Connection refused"
    r"|RemoteDisconnected|NewConnectionError|NameResolutionError|Name or service not known"
    r"|Temporary failure in name resolution|Read timed out|ReadTimeout|ConnectTimeout"
)
_PLAIN = re.compile(
    r"^(?:ERROR: )?\((?P<a>[A-Za-z]\w+)\) |^(?:ERROR: )?Code: (?P<b>\w+)\s*$"
    r"|^ERROR: (?P<c>[A-Z]\w+) - |\bError (?P<d>BCP\d{3}):",
    re.MULTILINE,
)
_DECODER = json.JSONDecoder()
_DEPTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call failed: whether waiting helps, the innermost codes, what to do."""

    environmental: bool
    codes: tuple[str, ...]
    reason: str
    advice: str


def failure_of(answer: Answer) -> Failure:
    """Classify what az printed when it failed. An unknown code is never retried."""
    said = f"{answer.err}\n{answer.out}".strip()
    if answer.timed_out:
        return Failure(
            environmental=True,
            codes=(),
            reason=f"az {answer.command} did not end in time",
            advice="",
        )
    return failure_in(said, of=f"az {answer.command}")


def failure_in(said: str, *, of: str) -> Failure:
    """Classify a text that holds Azure's error."""
    codes = innermost_codes(said)
    if codes:
        environmental = all(code.lower() in ENVIRONMENTAL for code in codes)
    else:
        environmental = _NETWORK.search(said) is not None
    named = ", ".join(codes) or ("no connection" if environmental else "no error code")
    return Failure(
        environmental=environmental,
        codes=codes,
        reason=f"{of} failed: {named}\n{_short(said)}",
        advice=advice_for(codes, said),
    )


def innermost_codes(said: str) -> tuple[str, ...]:
    """The codes of the errors within the errors, each once; wrappers only if nothing is in them."""
    found = list(_codes_of_text(said, _DEPTH))
    found += [next(code for code in it.groups() if code) for it in _PLAIN.finditer(said)]
    inner = [code for code in found if code.lower() not in WRAPPERS]
    return tuple(dict.fromkeys(inner or found))


def _codes_of_text(text: str, depth: int) -> Iterator[str]:
    place = text.find("{")
    while place >= 0:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except ValueError:
            place = text.find("{", place + 1)
            continue
        yield from _codes_of(value, depth)
        place = text.find("{", end)


def _codes_of(value: Any, depth: int) -> Iterator[str]:
    """Depth first: an error's own code counts only when it holds no other error."""
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value:
            yield from _codes_of(item, depth - 1)
    elif isinstance(value, dict):
        named = {str(name).lower(): item for name, item in value.items()}
        within = [code for item in named.values() for code in _within(item, depth)]
        yield from within
        own = named.get("code")
        if not within and isinstance(own, (str, int)) and str(own):
            yield str(own)


def _within(item: Any, depth: int) -> Iterator[str]:
    if isinstance(item, str):
        yield from _codes_of_text(item, depth - 1)
    else:
        yield from _codes_of(item, depth - 1)


def _short(said: str, limit: int = 4000) -> str:
    return said if len(said) <= limit else f"{said[:limit]} ..."
