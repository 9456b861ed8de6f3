"""Malformed requests get the errors of A2A, in the form of their binding, and nothing runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.a2a.kit import VERSION, a_message, a_world, make_request, rest, rpc

GOOD = a_message("Hi")
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
NOBODY = "00000000-0000-0000-0000-000000000000"


def without(name: str) -> dict[str, Any]:
    """A good message without a field."""
    return {key: value for key, value in GOOD.items() if key != name}


def a_call(method: object = "SendMessage", **fields: Any) -> dict[str, Any]:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"message": GOOD}} | fields


PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602
TASK, MEDIA, UNSUPPORTED = -32001, -32005, -32004
BAD_CALLS: list[tuple[str, Any, int]] = [
    ("nothing", b" ", PARSE),
    ("not JSON", b"{jsonrpc: 2.0}", PARSE),
    ("cut off", b'{"jsonrpc": "2.0"', PARSE),
    ("not UTF-8", b'{"jsonrpc": "\xfc"}', PARSE),
    ("NaN", b'{"jsonrpc": "2.0", "id": NaN}', PARSE),
    ("too deep", b"[" * 60 + b"]" * 60, PARSE),
    ("a name twice", b'{"jsonrpc": "2.0", "id": 1, "id": 2}', PARSE),
    ("a batch", [a_call()], REQUEST),
    ("a text", b'"SendMessage"', REQUEST),
    ("no version", a_call(jsonrpc=None), REQUEST),
    ("another version", a_call(jsonrpc="1.0"), REQUEST),
    *(
        (
            f"{method} of an id that is no key",
            a_call(method, params={"taskId": NOBODY, "id": config_id}),
            PARAMS,
        )
        for method in ("GetTaskPushNotificationConfig", "DeleteTaskPushNotificationConfig")
        for config_id in ("a/b", "\x00", "x" * 129)
    ),
    ("an object as id", a_call(id={}), REQUEST),
    ("true as id", a_call(id=True), REQUEST),
    ("a number as method", a_call(4), REQUEST),
    ("an unknown method", a_call("DoIt"), METHOD),
    ("a method of 0.3", a_call("message/send"), METHOD),
    ("a list as params", a_call(params=[1]), PARAMS),
    ("a text as params", a_call(params="x"), PARAMS),
    ("no params", a_call(params=None), PARAMS),
    ("no message", a_call(params={}), PARAMS),
    ("a text as message", a_call(params={"message": "Hi"}), PARAMS),
    ("no messageId", a_call(params={"message": without("messageId")}), PARAMS),
    ("an empty messageId", a_call(params={"message": {**GOOD, "messageId": ""}}), PARAMS),
    ("a long messageId", a_call(params={"message": {**GOOD, "messageId": "m" * 257}}), PARAMS),
    ("no role", a_call(params={"message": without("role")}), PARAMS),
    ("another role", a_call(params={"message": {**GOOD, "role": "user"}}), PARAMS),
    ("the agent's role", a_call(params={"message": {**GOOD, "role": "ROLE_AGENT"}}), PARAMS),
    ("no parts", a_call(params={"message": without("parts")}), PARAMS),
    ("an empty list of parts", a_call(params={"message": {**GOOD, "parts": []}}), PARAMS),
    ("a part without content", a_call(params={"message": a_message({})}), PARAMS),
    (
        "a part with two contents",
        a_call(params={"message": a_message({"text": "a", "url": "https://a.example/"})}),
        PARAMS,
    ),
    ("an empty text", a_call(params={"message": a_message(" ")}), PARAMS),
    ("a part of 0.3", a_call(params={"message": a_message({"kind": "text"})}), PARAMS),
    (
        "bytes that are not base64",
        a_call(params={"message": a_message("a", {"raw": "!!", "mediaType": "text/csv"})}),
        PARAMS,
    ),
    (
        "bytes of an unknown kind",
        a_call(params={"message": a_message("a", {"raw": "aGk="})}),
        MEDIA,
    ),
    (
        "a video",
        a_call(params={"message": a_message("a", {"raw": "aGk=", "mediaType": "video/mp4"})}),
        MEDIA,
    ),
    (
        "a private address",
        a_call(params={"message": a_message("a", {"url": "https://10.0.0.1/a.png"})}),
        PARAMS,
    ),
    (
        "too many parts",
        a_call(params={"message": {**GOOD, "parts": [{"text": "a"}] * 257}}),
        PARAMS,
    ),
    ("a bad contextId", a_call(params={"message": {**GOOD, "contextId": "a/b"}}), PARAMS),
    ("a taskId of nobody", a_call(params={"message": {**GOOD, "taskId": NOBODY}}), TASK),
    ("a taskId that is no id", a_call(params={"message": {**GOOD, "taskId": "x"}}), TASK),
    ("metadata that is a list", a_call(params={"message": {**GOOD, "metadata": []}}), PARAMS),
    ("a tenant", a_call(params={"message": GOOD, "tenant": "acme"}), PARAMS),
    (
        "a history of -1",
        a_call(params={"message": GOOD, "configuration": {"historyLength": -1}}),
        PARAMS,
    ),
    ("a task of nobody", a_call("GetTask", params={"id": NOBODY}), TASK),
    ("no task", a_call("CancelTask", params={}), PARAMS),
    ("a page of 0", a_call("ListTasks", params={"pageSize": 0}), PARAMS),
    ("an unknown state", a_call("ListTasks", params={"status": "working"}), PARAMS),
    ("a time that is none", a_call("ListTasks", params={"statusTimestampAfter": "now"}), PARAMS),
    (
        "a time without its zone",
        a_call("ListTasks", params={"statusTimestampAfter": "2026-01-01T00:00:00"}),
        PARAMS,
    ),
    (
        "a month that is none",
        a_call("ListTasks", params={"statusTimestampAfter": "2026-13-01"}),
        PARAMS,
    ),
    ("a NUL in a page", a_call("ListTasks", params={"pageToken": "\0"}), PARAMS),
    ("a NUL in a method", a_call("SendMessage\0"), METHOD),
    ("an infinite id", b'{"jsonrpc": "2.0", "id": 1e999, "method": "GetTask"}', PARSE),
    ("a role by a number", a_call(params={"message": {**GOOD, "role": 9}}), PARAMS),
    ("a part in a part", a_call(params={"message": {**GOOD, "parts": [[{"text": "a"}]]}}), PARAMS),
    ("data of null", a_call(params={"message": a_message({"data": None})}), PARAMS),
    (
        "an empty file",
        a_call(params={"message": a_message({"raw": "", "filename": "a.txt"})}),
        PARAMS,
    ),
    (
        "a path as a file",
        a_call(params={"message": a_message({"raw": "aGk=", "filename": "../a.txt"})}),
        PARAMS,
    ),
    (
        "a file of this machine",
        a_call(params={"message": a_message({"url": "file:///a.txt"})}),
        PARAMS,
    ),
    (
        "seventeen files",
        a_call(params={"message": a_message(*[{"raw": "aGk=", "filename": "a.txt"}] * 17)}),
        PARAMS,
    ),
    (
        "a contextId in full width",
        a_call(params={"message": {**GOOD, "contextId": "\uff41"}}),
        PARAMS,
    ),
    (
        "modes as a text",
        a_call(params={"message": GOOD, "configuration": {"acceptedOutputModes": "a"}}),
        PARAMS,
    ),
    (
        "a flag as a word",
        a_call(params={"message": GOOD, "configuration": {"returnImmediately": "yes"}}),
        PARAMS,
    ),
    (
        "large metadata",
        a_call(params={"message": {**GOOD, "metadata": {"a": "x" * 20_000}}}),
        PARAMS,
    ),
    (
        "a receiver inside the cloud",
        a_call(
            params={
                "message": GOOD,
                "configuration": {
                    "taskPushNotificationConfig": {"url": "https://169.254.169.254/"}
                },
            }
        ),
        PARAMS,
    ),
    ("an extended card", a_call("GetExtendedAgentCard", params={}), UNSUPPORTED),
]


@pytest.mark.parametrize(
    ("raw", "code"), [it[1:] for it in BAD_CALLS], ids=[b[0] for b in BAD_CALLS]
)
async def test_a_malformed_call_gets_an_error_of_json_rpc(raw: Any, code: int) -> None:
    world = await a_world()
    reply = await rpc(world, "", raw=raw)
    assert (reply.status, reply.body["jsonrpc"]) == (200, "2.0")
    assert reply.error["code"] == code, reply.error
    assert reply.error["data"][0]["@type"] == INFO
    assert reply.error["message"]
    valid = isinstance(raw, dict) and not isinstance(raw.get("id"), dict | bool)
    assert reply.body["id"] == (7 if valid else None)
    assert world.tables.requests == {}


BAD_REQUESTS: list[tuple[str, str, str, Any, int, str]] = [
    ("an unknown path", "GET", "message", None, 404, "METHOD_NOT_FOUND"),
    ("no path", "GET", "", None, 404, "METHOD_NOT_FOUND"),
    ("another method", "GET", "message:send", None, 405, "METHOD_NOT_FOUND"),
    ("PUT", "PUT", "tasks", None, 405, "METHOD_NOT_FOUND"),
    ("a tenant in the path", "POST", "acme/message:send", {}, 404, "METHOD_NOT_FOUND"),
    ("not JSON", "POST", "message:send", b"{", 400, "PARSE_ERROR"),
    ("a list", "POST", "message:stream", b"[]", 400, "INVALID_PARAMS"),
    ("no message", "POST", "message:stream", {}, 400, "INVALID_PARAMS"),
    ("a bad page", "GET", "tasks?pageSize=x", None, 400, "INVALID_PARAMS"),
    ("a bad state", "GET", "tasks?status=done", None, 400, "INVALID_PARAMS"),
    ("a task of nobody", "GET", f"tasks/{NOBODY}", None, 404, "TASK_NOT_FOUND"),
    ("no id", "POST", "tasks/x:cancel", None, 404, "TASK_NOT_FOUND"),
    ("an unknown verb", "POST", f"tasks/{NOBODY}:stop", None, 404, "METHOD_NOT_FOUND"),
    ("to subscribe to nothing", "GET", f"tasks/{NOBODY}:subscribe", None, 404, "TASK_NOT_FOUND"),
    ("no URL", "POST", f"tasks/{NOBODY}/pushNotificationConfigs", {}, 400, "INVALID_PARAMS"),
    ("a bad time", "GET", "tasks?statusTimestampAfter=2026-01-01", None, 400, "INVALID_PARAMS"),
    ("a history of -1", "GET", "tasks?historyLength=-1", None, 400, "INVALID_PARAMS"),
    ("a flag as a word", "GET", "tasks?includeArtifacts=maybe", None, 400, "INVALID_PARAMS"),
    ("dots", "GET", "tasks/..", None, 404, "TASK_NOT_FOUND"),
    ("more after the card", "GET", "extendedAgentCard/x", None, 404, "METHOD_NOT_FOUND"),
    ("an extended card", "GET", "extendedAgentCard", None, 400, "UNSUPPORTED_OPERATION"),
]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "reason"),
    [it[1:] for it in BAD_REQUESTS],
    ids=[b[0] for b in BAD_REQUESTS],
)
async def test_a_malformed_request_gets_a_status_of_google_rpc(
    verb: str, path: str, body: Any, status: int, reason: str
) -> None:
    world = await a_world()
    reply = await rest(world, verb, path, body)
    assert (reply.status, reply.reason) == (status, reason)
    assert reply.error["code"] == status
    assert reply.error["status"].isupper()
    assert world.tables.requests == {}


@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage", "ListTasks"])
async def test_an_agent_that_is_not_there_is_an_error_of_either_binding(method: str) -> None:
    world = await a_world()
    reply = await rpc(world, method, {"message": GOOD}, agent="nobody")
    assert (reply.status, reply.error["code"]) == (200, PARAMS)
    assert reply.error["data"][0]["metadata"]["code"] == "agent_not_found"
    by_rest = await rest(world, "GET", "tasks", agent="../x")
    assert (by_rest.status, by_rest.error["status"]) == (404, "NOT_FOUND")


async def test_a_caller_without_a_key_is_refused_before_anything_is_read() -> None:
    world = await a_world(AOS_AUTH="keys")
    reply = await rpc(world, "SendMessage", {"message": GOOD})
    assert (reply.status, reply.error["code"]) == (401, REQUEST)
    by_rest = await rest(world, "POST", "message:send", {"message": GOOD})
    assert (by_rest.status, by_rest.error["status"]) == (401, "UNAUTHENTICATED")


async def test_a_refusal_names_the_field_as_a2a_does() -> None:
    world = await a_world()
    message = a_message("a", {"raw": "aGk=", "mediaType": "image/png"})
    reply = await rpc(world, "SendMessage", {"message": message})
    assert reply.error["message"].startswith("message.parts[1].raw is not a PNG image")
    assert reply.error["data"][1]["fieldViolations"][0]["field"] == "message.parts[1].raw"
    nobody = await rpc(world, "GetTask", {"id": NOBODY})
    assert nobody.error["message"].startswith(f"there is no task '{NOBODY}'")


async def test_a_media_type_that_is_not_json_is_refused() -> None:
    world = await a_world()
    headers = {**VERSION, "content-type": "text/plain"}
    assert (await rpc(world, "SendMessage", {}, headers=headers)).error["code"] == MEDIA
    by_rest = await rest(world, "POST", "message:send", {}, headers=headers)
    assert (by_rest.status, by_rest.reason) == (415, "CONTENT_TYPE_NOT_SUPPORTED")


@pytest.mark.parametrize("binding", ["rpc", "rest"])
async def test_a_body_without_its_length_is_refused(binding: str) -> None:
    world = await a_world()
    headers = {**VERSION, "transfer-encoding": "chunked"}
    if binding == "rpc":
        reply = await rpc(world, "", raw=b" ", headers=headers)
        assert reply.error["code"] == PARSE, "the kit sends a body"
        request = make_request("POST", None, headers, {"agent_id": "ceo"})
        answer = await world.main.a2a.rpc(request)
        assert json.loads(answer.get_body())["error"]["code"] == REQUEST
    else:
        reply = await rest(world, "POST", "message:send", headers=headers)
        assert (reply.status, reply.reason) == (411, "INVALID_REQUEST")


async def test_a_pause_is_a_fault_that_passes() -> None:
    world = await a_world(AOS_PAUSED="true")
    reply = await rpc(world, "SendMessage", {"message": GOOD})
    assert (reply.status, reply.error["code"]) == (200, -32603)
    assert reply.error["data"][0]["metadata"]["retryable"] == "true"
    by_rest = await rest(world, "POST", "message:send", {"message": GOOD})
    assert (by_rest.status, by_rest.error["status"]) == (503, "UNAVAILABLE")
    assert by_rest.headers["retry-after"] == "30"


async def test_a_fault_of_ours_is_told_by_its_id() -> None:
    world = await a_world()

    async def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    world.main.caller_runs.start = break_down  # type: ignore[method-assign]
    reply = await rpc(world, "SendMessage", {"message": GOOD})
    assert (reply.status, reply.error["code"], reply.body["id"]) == (200, -32603, 7)
    assert "secret" not in str(reply.body)
