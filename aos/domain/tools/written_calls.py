"""Finds tool calls that a model wrote as text. Entry point: `find_written_call`.

An endpoint that does not parse its model's calls passes them on as the text of the answer. Such a
text is not called: it may be a quotation. The run says that the endpoint has to be set up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Any

from aos.domain.json_reader import is_within_depth

MAX_READ = 64 * 1024
"""Characters of an answer that are looked at."""
MAX_MARKS = 16
_SEPARATOR = "<\uff5ctool\u2581sep\uff5c>"
_MARK = re.compile(
    r"<tool_calls?>|<\|?tool_calls?(?:_begin)?\|?>|\[TOOL_CALLS\]|<\|python_tag\|>|<function_calls?>"
    r'|<invoke name="?'
    f"|<\uff5ctool\u2581call\u2581begin\uff5c>(?:function)?(?:{_SEPARATOR})?|<function=|<functioncall>"
    r"|```(?:json|tool_calls?|tool_code)?\s|\A\s*(?=[{\[])",
    re.IGNORECASE,
)
"""What Hermes, Qwen, Mistral, Llama, DeepSeek, Kimi and others write before a call."""
_NAME = re.compile(
    rf"\s*+(?:functions?\.)?([A-Za-z0-9_-]{{1,64}})"
    rf"(?:[^\S\n]*+\n|\s*+(?:[(\[{{>:<\"]|{_SEPARATOR}))"
)
_NAME_IN_BROKEN_JSON = re.compile(r'\s*+\[?\s*+\{\s*+"name"\s*+:\s*+"([^"]{1,64})"\s*+,')
_JSON = ("{", "[")
_ARGUMENTS = ("arguments", "parameters", "args", "input")


def find_written_call(text: str, names: Container[str]) -> str | None:
    """The name of the offered tool that the text calls, or None."""
    text = text[:MAX_READ]
    for place, mark in enumerate(_MARK.finditer(text)):
        if place == MAX_MARKS:
            return None
        rest = text[mark.end() :]
        if (
            mark[0].startswith("`")
            and "tool" not in mark[0]
            and not rest.lstrip().startswith(_JSON)
        ):
            continue
        name = _read_name(rest)
        if name is not None and name in names:
            return name
    return None


def _read_name(text: str) -> str | None:
    """The tool that is called by the text right after a mark; the call may be cut off."""
    body = text.lstrip()
    if body.startswith(_JSON) and is_within_depth(body):
        try:
            found, _ = json.JSONDecoder().raw_decode(body)
        except (ValueError, RecursionError):
            named = _NAME_IN_BROKEN_JSON.match(body)
        else:
            return _name_of_call(found)
    else:
        named = _NAME.match(text)
    return None if named is None else named[1]


def _name_of_call(value: Any) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name") or value.get("function") or value.get("tool")
    has_arguments = any(key in value for key in _ARGUMENTS)
    return name if isinstance(name, str) and has_arguments else None
