"""Turns an endpoint's refusal into an error of AOS, by who must act. Entry point: `make_fault`.

Endpoints report a fault by a status, by a code in the body (also under status 200), or by both. The
body is an object, a list or a text. A known code decides, else the status. Every message contains
the endpoint's own words, and never a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aos.adapters.retry_after import read_retry_after
from aos.errors import AosError, OperatorFault, RunFailed, TransientError

LONGEST_DETAIL = 300
_TRANSIENT = frozenset({408, 409, 425, 429})
_REJECTED = frozenset({400, 413, 422, 451})
_STATUS_OF_CODE = {
    "invalid_api_key": 401,
    "authentication_error": 401,
    "unauthorized": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "forbidden": 403,
    "model_not_found": 404,
    "deploymentnotfound": 404,
    "not_found": 404,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "bad_request": 400,
    "context_length_exceeded": 400,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "resource_exhausted": 429,
    "too_many_requests": 429,
    "failed_to_download_image": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "unsupported_image_media_type": 400,
    "image_parse_error": 400,
    "image_too_large": 400,
    "image_file_too_large": 400,
}
_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "insufficient_funds",
        "insufficient_credits",
        "payment_required",
    }
)
_FILTERED = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "moderation",
        "invalid_prompt",  # OpenAI's code for a prompt that its usage policy refuses
        "bio_policy",
        "misalignment_policy_violation",
        "image_content_policy_violation",
    }
)
_TOO_LONG = re.compile(
    r"context[ _](length|window|limit|size)|prompt is too long|too many (input )?tokens"
    r"|input (token count|length|is too long)|reduce the length|maximum number of tokens",
    re.IGNORECASE,
)
"""How endpoints say that a request has more tokens than the model takes."""
_MARKUP = re.compile(r"\s*<(!doctype|html|\?xml)", re.IGNORECASE)


def make_fault(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    model: str | None,
    now: datetime,
) -> AosError:
    """Return the error for a refusal. `model` is the name in the request (None: the list of
    models).

    TransientError: ask again. OperatorFault `model_misconfigured` or `model_quota`: the run waits
    for the operator. RunFailed: `model_rejected` or `content_filtered`.
    """
    what = "the list of models" if model is None else f"model {model!r}"
    error = _find_error(_parse(body))
    said = _read_detail(error, body)
    codes = _list_codes(error)
    if status < 300:
        status = _find_status(error, codes)
    if codes & _QUOTA or status == 402:
        return OperatorFault(
            "model_quota",
            f"the model endpoint has no quota left for {what}{said}; pay for the account behind"
            " AOS_MODEL_API_KEY, or raise its limit",
            retry_after_seconds=read_retry_after(headers, now=now),
            status=status,
        )
    if codes & _FILTERED:
        return content_filtered(said, status=status)
    if status in _TRANSIENT or status >= 500:
        return TransientError(
            f"the model endpoint answered {status} for {what}{said}",
            retry_after_seconds=read_retry_after(headers, now=now),
        )
    if status in _REJECTED:
        return RunFailed(
            "model_rejected",
            f"the model endpoint rejected the request for {what} ({status}){said}; check the"
            " card's parameters and the length of the conversation (memory.window_messages)",
            status=status,
            **({"too_long": True} if _is_about_length(status, said, codes) else {}),
        )
    return OperatorFault(
        "model_misconfigured",
        f"the model endpoint answered {status} for {what}{said}; {_advise(status)}",
        status=status,
    )


def content_filtered(said: str = "", **details: Any) -> RunFailed:
    """Return the error of a run whose text the endpoint's content filter refused."""
    return RunFailed(
        "content_filtered",
        f"the model endpoint's content filter refused this run{said}; the cause is the question or"
        " a tool's result. Later runs of the conversation do not get this run's messages",
        **details,
    )


def is_too_long(error: AosError) -> bool:
    """Whether a request was rejected because it has more tokens than the model takes."""
    return error.code == "model_rejected" and error.info.details.get("too_long") is True


def is_markup(body: bytes) -> bool:
    """Whether a body is a web page or XML, as servers other than the endpoint answer."""
    return _MARKUP.match(body[:200].decode("utf-8-sig", "replace")) is not None


def is_about_encryption(error: AosError) -> bool:
    """Whether a request was rejected because of the encrypted reasoning in it or asked for."""
    return error.code == "model_rejected" and "encrypted" in str(error).casefold()


def has_error(raw: Mapping[str, Any]) -> bool:
    """Whether the body of a successful status reports a fault."""
    is_bare = "choices" not in raw and "output" not in raw and isinstance(raw.get("message"), str)
    is_coded = isinstance(raw.get("code"), str | int)
    return bool(raw.get("error")) or raw.get("object") == "error" or (is_bare and is_coded)


def _is_about_length(status: int, said: str, codes: set[str]) -> bool:
    return status == 413 or "context_length_exceeded" in codes or bool(_TOO_LONG.search(said))


def _advise(status: int) -> str:
    if status == 401:
        return "set AOS_MODEL_API_KEY to a valid key, or give the app's identity access"
    if status == 403:
        return "give AOS_MODEL_API_KEY, or the app's identity, the right to use this model"
    if status == 404:
        return (
            "check that AOS_MODEL_ENDPOINT ends with /v1, that AOS_MODEL (or the card's model)"
            " is one that the endpoint serves, and that it speaks the API that AOS_MODEL_API names"
            " (chat or responses)"
        )
    if 300 <= status < 400:
        return "redirects are not followed: set AOS_MODEL_ENDPOINT to the final address"
    return "check AOS_MODEL_ENDPOINT"


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _find_error(raw: Any) -> Mapping[str, Any]:
    """Return the object that describes the fault, from any of the shapes in which it comes."""
    for _ in range(4):
        if isinstance(raw, list):
            raw = raw[0] if raw else None
        elif isinstance(raw, str):
            return {"message": raw}
        elif isinstance(raw, Mapping) and isinstance(raw.get("error"), Mapping | list | str):
            outer = raw
            raw = outer["error"]
            if isinstance(raw, str) and isinstance(outer.get("message"), str):
                return {"message": outer["message"], "code": raw}
        else:
            break
    return raw if isinstance(raw, Mapping) else {}


def _list_codes(error: Mapping[str, Any]) -> set[str]:
    """Return all words by which the body names the fault, in lower case."""
    inner = error.get("innererror")
    named = [error.get("code"), error.get("type"), error.get("status")]
    named.append(inner.get("code") if isinstance(inner, Mapping) else None)
    return {value.casefold() for value in named if isinstance(value, str)}


def _find_status(error: Mapping[str, Any], codes: set[str]) -> int:
    """Return the status that the body of a successful answer means, or 502 if it names none."""
    for value in (error.get("code"), error.get("status")):
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, int) and not isinstance(number, bool) and 400 <= number < 600:
            return number
    known = [_STATUS_OF_CODE[code] for code in codes if code in _STATUS_OF_CODE]
    return max(known, default=502)


def _read_detail(error: Mapping[str, Any], body: bytes) -> str:
    """Return the endpoint's own words, shortened."""
    said = [error.get(name) for name in ("message", "detail", "error_description", "msg")]
    text = next((_read_words(value) for value in said if _read_words(value)), "")
    if not text and not error:
        plain = body[: 4 * LONGEST_DETAIL].decode("utf-8", "replace")
        text = "" if is_markup(body) or "\x00" in plain or _is_json(plain) else plain
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    if not line:
        return ""
    return f": {line if len(line) <= LONGEST_DETAIL else line[:LONGEST_DETAIL] + '…'}"


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") or not text.strip()


def _read_words(value: Any) -> str:
    """Return a text, or the messages in a list of faults (as in FastAPI's validation answers)."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        texts = [
            _read_words(item.get("msg") if isinstance(item, Mapping) else item) for item in value
        ]
        return "; ".join(text for text in texts if text)
    return ""
