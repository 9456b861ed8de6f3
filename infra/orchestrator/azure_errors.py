"""Decides whether a failed call of az may succeed later. Entry point: `classify_answer`.

The innermost error code of Azure decides, not the text: the message of a template error may contain
"timeout", and that of an InternalServerError "validation". Outer codes only say that an inner
operation failed. Inner errors are often JSON inside the text of a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.orchestrator.azure_cli import Answer
from infra.orchestrator.error_advice import find_advice

WRAPPERS = frozenset(
    {
        *("badrequest", "conflict", "deploymentfailed", "deploymentstackdeploymentfailed"),
        *("invalidtemplatedeployment", "multipleerrorsoccurred"),
        *("preflightvalidationcheckfailed", "resourcedeploymentfailure"),
    }
)
ENVIRONMENTAL = frozenset(
    {
        *("429", "500", "502", "503", "504", "anotheroperationinprogress", "badgateway"),
        *("deploymentactive", "gatewaytimeout", "internalservererror", "operationtimedout"),
        *("operationtimeout", "principalnotfound", "requesttimeout", "retryableerror"),
        *("serverbusy", "servertimeout", "serviceunavailable", "toomanyrequests"),
    }
)
# What az prints when Azure did not answer. Such a failure has no error code.
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
    """Why a call failed. `environmental` means that a later attempt may succeed."""

    environmental: bool
    codes: tuple[str, ...]
    reason: str
    advice: str


def classify_answer(answer: Answer) -> Failure:
    """Classify a failed call. An unknown error code is not environmental, so it is not retried."""
    if answer.timed_out:
        return Failure(
            environmental=True,
            codes=(),
            reason=f"az {answer.command} did not end in time",
            advice="",
        )
    text = f"{answer.err}\n{answer.out}".strip()
    return classify_text(text, operation=f"az {answer.command}")


def classify_text(text: str, *, operation: str) -> Failure:
    """Classify a text that holds an error of Azure. `operation` is what failed."""
    codes = find_innermost_codes(text)
    if codes:
        environmental = all(code.lower() in ENVIRONMENTAL for code in codes)
    else:
        environmental = _NETWORK.search(text) is not None
    named = ", ".join(codes) or ("no connection" if environmental else "no error code")
    return Failure(
        environmental=environmental,
        codes=codes,
        reason=f"{operation} failed: {named}\n{_shorten(text)}",
        advice=find_advice(codes, text),
    )


def find_innermost_codes(text: str) -> tuple[str, ...]:
    """Find the codes of the innermost errors, without repeats.

    Codes of wrapping errors count only when there is no other code.
    """
    found = list(_find_codes_in_text(text, _DEPTH))
    found += [next(code for code in it.groups() if code) for it in _PLAIN.finditer(text)]
    inner = [code for code in found if code.lower() not in WRAPPERS]
    return tuple(dict.fromkeys(inner or found))


def _find_codes_in_text(text: str, depth: int) -> Iterator[str]:
    place = text.find("{")
    while place >= 0:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except ValueError:
            place = text.find("{", place + 1)
            continue
        yield from _find_codes(value, depth)
        place = text.find("{", end)


def _find_codes(value: Any, depth: int) -> Iterator[str]:
    """Search depth first. An error's own code counts only when it contains no other error."""
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value:
            yield from _find_codes(item, depth - 1)
    elif isinstance(value, dict):
        named = {str(name).lower(): item for name, item in value.items()}
        within = [code for item in named.values() for code in _find_inner_codes(item, depth)]
        yield from within
        own = named.get("code")
        if not within and isinstance(own, (str, int)) and str(own):
            yield str(own)


def _find_inner_codes(item: Any, depth: int) -> Iterator[str]:
    if isinstance(item, str):
        yield from _find_codes_in_text(item, depth - 1)
    else:
        yield from _find_codes(item, depth - 1)


def _shorten(text: str, limit: int = 4000) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
