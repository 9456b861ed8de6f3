"""Writes messages of AOS as items of OpenAI's API, and lists of them. Entry points:
`list_input_items`, `list_items`, `make_message_item`, `make_list`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aos.domain.runs.conversation import Message
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_options import RunOptions
from aos.entrypoints.http.openai.errors import refuse
from aos.entrypoints.http.openai.parameters import read_limit
from aos.entrypoints.http.openai.unfolding import AGENTS

Item = dict[str, Any]
_FAILED = ("error: ", "outcome unknown: ", "not called: ", "denied: ")


def list_input_items(request: AdmittedRequest) -> list[Item]:
    """The input of a response, oldest first."""
    options = request.options or RunOptions()
    said = [(m.role, m.content, m.parts) for m in options.history]
    said.append(("user", request.message, request.parts))
    run = request.run_id.replace("-", "")
    return [
        make_message_item(f"msg_{run}_in{place}", role, content, parts)
        for place, (role, content, parts) in enumerate(said)
    ]


def list_items(messages: Sequence[Message]) -> list[Item]:
    """The items of a conversation's messages, oldest first. The results of calls are in the items
    of the calls; the messages must follow each other."""
    return list(_list_items(messages))


def _list_items(messages: Sequence[Message]) -> Iterator[Item]:
    results = {m.tool_call_id: m.content for m in messages if m.role == "tool"}
    for message in messages:
        if message.role == "tool":
            continue
        if message.content or message.parts:
            name = name_item(message.sequence)
            yield make_message_item(name, message.role, message.content, message.parts)
        for place, call in enumerate(message.tool_calls):
            server, _, tool = call.name.rpartition("__")
            output = results.get(call.tool_call_id)
            failed = output is not None and output.startswith(_FAILED)
            yield {
                "id": name_item(message.sequence, call=place),
                "type": "mcp_call",
                "status": "in_progress" if output is None else "failed" if failed else "completed",
                "server_label": server or AGENTS,
                "name": tool,
                "arguments": call.arguments,
                "approval_request_id": None,
                "output": None if failed else output,
                "error": output if failed else None,
            }


def name_item(sequence: int, *, call: int | None = None) -> str:
    """The id of an item of a conversation."""
    return f"msg_{sequence:08d}" if call is None else f"mcp_{sequence:08d}_{call}"


def read_item_sequence(text: str) -> int | None:
    """The sequence of the message that an item belongs to; None for another text."""
    kind, _, rest = text.partition("_")
    number = rest.partition("_")[0]
    is_named = kind in ("msg", "mcp") and number.isascii() and number.isdigit()
    return int(number) if is_named and len(number) == 8 else None


def make_list(items: Sequence[Item], query: Mapping[str, str]) -> dict[str, Any]:
    """The page of a list that a query asks for; the newest come first, as the API has it."""
    limit, after, order = read_page(query)
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        places = [place for place, item in enumerate(ordered) if item["id"] == after]
        if not places:
            raise refuse("after", f"is {after[:80]!r}, which is not in the list")
        ordered = ordered[places[0] + 1 :]
    return wrap(ordered[:limit], has_more=len(ordered) > limit)


def read_page(query: Mapping[str, str]) -> tuple[int, str | None, str]:
    """The limit, the item after which the page begins, and the order."""
    order = query.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise refuse("order", "must be 'asc' or 'desc'")
    return read_limit(query.get("limit")), query.get("after"), order


def wrap(items: Sequence[Item], *, has_more: bool) -> dict[str, Any]:
    """A list of the API."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else "",
        "last_id": items[-1]["id"] if items else "",
        "has_more": has_more,
    }


def make_message_item(
    name: str, role: str, content: str, parts: Iterable[Mapping[str, Any]]
) -> Item:
    """The item of a message."""
    kind = "output_text" if role == "assistant" else "input_text"
    text: Item = {"type": kind, "text": content}
    if role == "assistant":
        text |= {"annotations": [], "logprobs": []}
    shown = [text] if content else []
    return {
        "id": name,
        "type": "message",
        "status": "completed",
        "role": role,
        "content": [*shown, *(_make_part(part) for part in parts)],
    }


def _make_part(part: Mapping[str, Any]) -> Item:
    match part:
        case {"type": "image", "mimeType": kind, "data": data}:
            url = f"data:{kind};base64,{data}"
            return {"type": "input_image", "detail": "auto", "file_id": None, "image_url": url}
        case {"type": "resource_link", "uri": uri, "mimeType": kind} if str(kind).startswith(
            "image/"
        ):
            return {"type": "input_image", "detail": "auto", "file_id": None, "image_url": uri}
        case {"type": "resource_link", "uri": uri, "name": name}:
            return {"type": "input_file", "filename": name, "file_url": uri}
        case {"resource": {"uri": uri, "mimeType": kind} as resource}:
            name = str(uri).rpartition("/")[2]
            if "text" in resource:
                return {"type": "input_text", "text": f"File {name!r}:\n{resource['text']}"}
            data = f"data:{kind};base64,{resource.get('blob', '')}"
            return {"type": "input_file", "filename": name, "file_data": data}
        case _:
            return {"type": "input_text", "text": "[content of another kind]"}
