"""Does the Service Bus let clients do what their policy allows, as long as it allows it?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from devhost.amqp import performatives as p
from devhost.amqp.types import Int
from devhost.servicebus import connection
from devhost.servicebus.config import parse_config
from devhost.servicebus.errors import ConfigError
from devhost.servicebus.server import Ports, Server
from tests.unit.servicebus.peer import Peer, message, question
from tests.unit.servicebus.sas import sign_token

SAS = "servicebus.windows.net:sastoken"


def rule(name: str, *rights: str, **keys: str) -> dict[str, Any]:
    return {"Name": name, "Properties": {"Rights": list(rights), **(keys or {"PrimaryKey": "k"})}}


def namespace(*rules: Any, queue_rules: Any = (), topic_rules: Any = ()) -> Any:
    queues = [{"Name": "Q", "AuthorizationRules": list(queue_rules)}, {"Name": "q/below"}]
    topic = {"Name": "t", "AuthorizationRules": list(topic_rules), "Subscriptions": [{"Name": "s"}]}
    entities: dict[str, Any] = {"Name": "n", "Queues": queues, "Topics": [topic]}
    if rules:
        entities["AuthorizationRules"] = list(rules)
    return {"UserConfig": {"Namespaces": [entities]}}


CONFIG = parse_config(
    namespace(
        rule("root", "Manage", "Listen", "Send", PrimaryKey="first", SecondaryKey="second"),
        rule("reader", "Listen"),
        rule("writer", "Send"),
        rule("both", "Send", PrimaryKey="of the namespace"),
        queue_rules=[rule("mine", "Listen", "Send"), rule("both", "Listen", PrimaryKey="mine")],
        topic_rules=[rule("events", "Listen")],
    )
)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A Service Bus in memory."""
    server = Server(CONFIG, Ports(amqp=0, http=None))
    number, _ = await server.start()
    yield number
    await server.stop()


@pytest.fixture
async def peer(port: int) -> AsyncIterator[Peer]:
    """A client that has not said yet who it is."""
    connected = await Peer.connect(port, plain=None)
    connected.open_node("$cbs")
    yield connected
    await connected.close()


def token(name: str, key: str, *, resource: str = "sb://host/q", seconds: int = 3_600) -> str:
    return sign_token(name, key, resource=resource, seconds=seconds)


async def put(peer: Peer, signed: Any, *, audience: str = "sb://host/q", kind: str = SAS) -> Any:
    """What `$cbs` answers: a code and its description."""
    asked = {"operation": "put-token", "type": kind, "name": audience}
    answer, _ = await peer.ask(question(asked, signed))
    assert type(answer["status-code"]) is Int
    return answer["status-code"], answer["status-description"]


async def opened(peer: Peer, attach: p.Attach) -> str | None:
    """None for a link that is there; else why not."""
    peer.say(attach)
    answer = await peer.hear(p.Attach, handle=attach.handle)
    if (answer.target if not attach.role else answer.source) is not None:
        return None
    detach = await peer.hear(p.Detach, handle=attach.handle)
    assert detach.error is not None
    return str(detach.error.condition)


TOKENS: dict[str, tuple[Any, str, int]] = {
    "primary key": (token("root", "first"), "sb://host/q", 202),
    "secondary key": (token("root", "second"), "sb://host/q", 202),
    "other host and case": (
        token("root", "first", resource="sb://other:5672/Q/"),
        "amqps://host/q",
        202,
    ),
    "management node": (token("root", "first"), "sb://host:5672/Q/$management", 202),
    "dead letters": (token("root", "first"), "sb://host/q/$DeadLetterQueue", 202),
    "signed for the namespace": (
        token("root", "first", resource="sb://host/"),
        "sb://host/t/Subscriptions/S",
        202,
    ),
    "put for the namespace": (
        token("root", "first", resource="http://host"),
        "sb://host/",
        202,
    ),
    "policy of the queue": (token("mine", "k"), "sb://host/q", 202),
    "name used twice, queue's key": (token("both", "mine"), "sb://host/q", 202),
    "name used twice, namespace's key": (token("both", "of the namespace"), "sb://host/q", 202),
    "policy of the topic, subscription": (
        token("events", "k", resource="sb://host/t"),
        "sb://host/t/subscriptions/s",
        202,
    ),
    "no such entity": (token("root", "first", resource="sb://host/"), "sb://host/nope", 404),
    "wrong key": (token("root", "third"), "sb://host/q", 401),
    "wrong key, no such entity": (
        token("root", "third", resource="sb://host/nope"),
        "sb://host/nope",
        401,
    ),
    "name in another case": (token("Root", "first"), "sb://host/q", 401),
    "empty key": (token("root", ""), "sb://host/q", 401),
    "well-known key that is not configured": (
        token("RootManageSharedAccessKey", "SAS_KEY_VALUE"),
        "sb://host/q",
        401,
    ),
    "expired": (token("root", "first", seconds=-1), "sb://host/q", 401),
    "expiry changed": (token("root", "first").replace("&se=", "&se=9"), "sb://host/q", 401),
    "address changed": (token("root", "first").replace("%2Fq", "%2Ft"), "sb://host/t", 401),
    "for another entity": (token("root", "first"), "sb://host/t", 401),
    "for less than asked": (token("root", "first"), "sb://host/", 401),
    "address without scheme": (token("root", "first", resource="q"), "sb://host/t", 401),
    "policy of another entity": (
        token("mine", "k", resource="sb://host/t"),
        "sb://host/t",
        401,
    ),
    "queue's policy signs for the namespace": (
        token("mine", "k", resource="sb://host/"),
        "sb://host/q",
        401,
    ),
    "queue's policy, queue of a longer name": (token("mine", "k"), "sb://host/q/below", 401),
    "field twice": (token("root", "first") + "&skn=root", "sb://host/q", 401),
    "endless expiry": (
        token("root", "first").replace("&se=", "&se=" + "9" * 5_000),
        "sb://host/q",
        401,
    ),
    "expiry in words": ("SharedAccessSignature sr=a&sig=b&se=x&skn=c", "sb://host/q", 401),
    "nonsense": ("nonsense", "sb://host/q", 401),
    "empty": ("", "sb://host/q", 401),
    "none": (None, "sb://host/q", 401),
    "bytes": (b"bytes", "sb://host/q", 401),
}


@pytest.mark.parametrize(("signed", "audience", "status"), TOKENS.values(), ids=TOKENS)
async def test_a_token_is_taken_by_its_signature_address_and_time(
    peer: Peer, signed: Any, audience: str, status: int
) -> None:
    assert (await put(peer, signed, audience=audience))[0] == status


REFUSALS = {
    "wrong key": (
        token("root", "wrong"),
        SAS,
        "InvalidSignature.*policy 'root' has another key",
    ),
    "unknown policy": (token("rooot", "first"), SAS, "InvalidSignature.*no policy 'rooot' here"),
    "expired": (token("root", "first", seconds=-1), SAS, "ExpiredToken"),
    "another address": (token("root", "first", resource="sb://host/t"), SAS, "InvalidAudience"),
    "nonsense": ("nonsense", SAS, "MalformedToken"),
    "jwt": ("e30.e30.", "jwt", "no identity provider"),
    "swt": (token("root", "first"), "amqp:swt", "no identity provider"),
}


async def test_a_signature_that_is_announced_as_jwt_is_one_all_the_same(peer: Peer) -> None:
    assert (await put(peer, token("root", "first"), kind="jwt"))[0] == 202
    assert (await put(peer, token("root", "third"), kind="jwt"))[0] == 401


@pytest.mark.parametrize(("signed", "kind", "reason"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_says_what_is_wrong(
    peer: Peer, signed: str, kind: str, reason: str
) -> None:
    status, description = await put(peer, signed, kind=kind)
    assert status == 401
    with pytest.raises(ValueError, match=reason):
        raise ValueError(description)


LOGGED = {
    "wrong key": (
        token("root", "wrong"),
        "sb://host/q",
        "401 InvalidSignature: .*policy 'root' has another key",
    ),
    "no such entity": (
        token("root", "first", resource="sb://host/"),
        "sb://host/nope",
        "404 .*'nope' could not be found",
    ),
    "lines and length of a client's own": (
        token("a%0Ab" + "c" * 5_000, "k"),
        "sb://host/q",
        r"401 InvalidSignature: .*a\\nbccc",
    ),
}


@pytest.mark.parametrize(("signed", "audience", "line"), LOGGED.values(), ids=LOGGED)
async def test_a_refusal_is_one_line_in_the_log_for_sdks_that_hide_the_answer(
    peer: Peer, capsys: pytest.CaptureFixture[str], signed: str, audience: str, line: str
) -> None:
    await put(peer, signed, audience=audience)
    said = capsys.readouterr().err
    assert re.fullmatch(rf"a client is refused: {line}.*\n", said)
    assert len(said) < 600


@pytest.mark.parametrize(
    ("name", "key", "sends", "receives"),
    [
        ("root", "first", True, True),
        ("reader", "k", False, True),
        ("writer", "k", True, False),
        ("mine", "k", True, True),
    ],
)
async def test_links_need_the_right_of_their_direction(
    peer: Peer, name: str, key: str, sends: bool, receives: bool
) -> None:
    assert (await put(peer, token(name, key)))[0] == 202
    refused = "amqp:unauthorized-access"
    assert await opened(peer, peer.sender(0, "q")) == (None if sends else refused)
    assert await opened(peer, peer.receiver(1, "q")) == (None if receives else refused)
    assert await opened(peer, peer.receiver(2, "q/$management")) is None
    assert await opened(peer, peer.sender(3, "t")) == refused


async def test_nothing_but_tokens_is_allowed_without_one(peer: Peer) -> None:
    for attach in (peer.sender(0, "q"), peer.receiver(1, "q"), peer.sender(2, "q/$management")):
        assert await opened(peer, attach) == "amqp:unauthorized-access"
    assert (await put(peer, token("root", "wrong")))[0] == 401
    assert await opened(peer, peer.sender(0, "q")) == "amqp:unauthorized-access"


@pytest.mark.parametrize(
    ("name", "operation", "body", "status"),
    [
        ("reader", "peek-message", {"from-sequence-number": 0, "message-count": Int(1)}, 204),
        ("writer", "peek-message", {"from-sequence-number": 0, "message-count": Int(1)}, 401),
        ("writer", "schedule-message", {"messages": [{"message": message()}]}, 200),
        ("reader", "schedule-message", {"messages": [{"message": message()}]}, 401),
    ],
)
async def test_management_asks_for_the_right_of_each_operation(
    port: int, name: str, operation: str, body: Any, status: int
) -> None:
    peer = await Peer.connect(port, plain=(name, "k"))
    peer.open_node("q/$management")
    answer, _ = await peer.ask(question({"operation": f"com.microsoft:{operation}"}, body))
    assert answer["statusCode"] == status
    await peer.close()


@pytest.mark.parametrize("plain", [("root", "wrong"), ("nobody", "first"), ("root", "fir\0st")])
async def test_sasl_plain_with_a_wrong_key_is_refused(
    port: int, plain: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PermissionError):
        await Peer.connect(port, plain=plain)
    assert capsys.readouterr().err.startswith("a client is refused: 401 ")


async def test_when_a_token_ends_its_links_end_unless_it_was_renewed(peer: Peer) -> None:
    signed = token("root", "first", resource="sb://host/", seconds=2)
    for audience in ("sb://host/q", "sb://host/t"):
        assert (await put(peer, signed, audience=audience))[0] == 202
    assert await opened(peer, peer.sender(0, "q")) is None
    assert await opened(peer, peer.sender(1, "t")) is None
    assert (await put(peer, token("root", "first")))[0] == 202
    detach = await peer.hear(p.Detach, handle=1)
    assert detach.error is not None
    assert detach.error.condition == "amqp:unauthorized-access"
    assert "ExpiredToken" in (detach.error.description or "")
    peer.send(0, message())
    assert (await peer.hear(p.Disposition, role=True, first=peer.sent - 1)).state == p.Accepted()


async def test_a_token_that_ends_leaves_the_next_link_on_the_handle_of_a_detached_one(
    peer: Peer,
) -> None:
    short = token("root", "first", resource="sb://host/", seconds=2)
    assert (await put(peer, short))[0] == 202
    lasting = token("root", "first", resource="sb://host/t")
    assert (await put(peer, lasting, audience="sb://host/t"))[0] == 202
    for handle in (0, 1):
        assert await opened(peer, peer.receiver(handle, "q")) is None
    peer.say(p.Detach(1, True))
    await peer.hear(p.Detach, handle=1)
    assert await opened(peer, peer.sender(1, "t")) is None
    await peer.hear(p.Detach, handle=0)
    assert not any(isinstance(each, p.Detach) for each in await peer.quiet())


async def test_a_connection_without_a_token_is_hung_up_on(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TOKEN_TIMEOUT_MS", 100)
    known = await Peer.connect(port, plain=("root", "first"))
    unknown = await Peer.connect(port, plain=None)
    closed = await unknown.hear(p.Close)
    assert closed.error is not None
    assert closed.error.condition == "amqp:unauthorized-access"
    assert not any(isinstance(each, p.Close) for each in await known.quiet())
    await unknown.close()
    await known.close()


def test_the_default_is_the_emulators_policy() -> None:
    (policy,) = parse_config(namespace()).policies
    assert (policy.name, policy.keys) == ("RootManageSharedAccessKey", ("SAS_KEY_VALUE",))
    assert "SAS_KEY_VALUE" not in repr(policy)


def test_a_list_that_is_empty_leaves_nobody() -> None:
    document = namespace()
    document["UserConfig"]["Namespaces"][0]["AuthorizationRules"] = []
    assert parse_config(document).policies == ()


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"Name": "a"}, "'a' has no Properties"),
        ({"Name": ""}, "the name ''"),
        (rule("a"), r"Rights \[\]"),
        (rule("a", "Read"), "Rights .*Listen, Send, Manage"),
        (rule("a", "Manage"), "Manage needs Listen and Send"),
        (rule("a", "Send", PrimaryKey=""), "a key must be a text"),
        (rule("a", "Send", SecondaryKey="k"), "a key must be a text"),
        (rule("a", "Send", Key="k"), "does not know 'Key'"),
    ],
)
def test_wrong_policies_are_named(given: Any, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_config(namespace(given))
    with pytest.raises(ConfigError, match=part):
        parse_config(namespace(queue_rules=[given]))


def test_names_are_single_and_not_too_many() -> None:
    with pytest.raises(ConfigError, match="two AuthorizationRules have the name 'a'"):
        parse_config(namespace(rule("a", "Send"), rule("a", "Listen")))
    with pytest.raises(ConfigError, match="13 entries, the limit is 12"):
        parse_config(namespace(*(rule(f"r{n}", "Send") for n in range(13))))
