"""Does the server say the frames that AMQP and the SDKs expect, also where SDKs seldom go?"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devhost.amqp import message as m
from devhost.amqp import performatives as p
from devhost.amqp.frames import Frame
from devhost.amqp.types import Array, Int, Symbol, UInt
from devhost.servicebus.config import parse_config
from devhost.servicebus.server import Ports, Server
from tests.full_disk import full_disk
from tests.unit.servicebus.peer import SESSION, Peer, data_of, message, question

CONFIG = parse_config(
    {
        "UserConfig": {
            "Namespaces": [
                {
                    "Queues": [
                        {"Name": "q", "Properties": {"LockDuration": "PT1M"}},
                        {"Name": "s", "Properties": {"RequiresSession": True}},
                    ]
                }
            ]
        }
    }
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
    connected = await Peer.connect(port)
    yield connected
    await connected.close()


async def test_a_send_is_accepted_and_comes_with_broker_annotations(peer: Peer) -> None:
    peer.say(peer.sender(0, "amqps://host:1/Q"), peer.receiver(1, "q"), peer.credit(1, 1))
    attach = await peer.hear(p.Attach, handle=0)
    assert attach.max_message_size == 262_144
    assert (await peer.hear(p.Flow, handle=0)).link_credit == 1_000
    assert (await peer.hear(p.Attach, handle=1)).initial_delivery_count == 0
    peer.send(0, message(message_id="m"))
    accepted = await peer.hear(p.Disposition, role=True)
    assert (accepted.settled, accepted.state) == (True, p.Accepted())
    transfer, payload = await peer.hear_message(1)
    parts = m.slice_message(payload)
    assert parts.bare == message(message_id="m")
    assert m.read_header(parts.header) == m.Header(delivery_count=0)
    assert transfer.delivery_tag is not None
    token = uuid.UUID(bytes_le=transfer.delivery_tag)
    assert m.read_map(parts.delivery_annotations) == {"x-opt-lock-token": token}
    assert sorted(m.read_map(parts.message_annotations)) == [
        "x-opt-enqueued-time",
        "x-opt-locked-until",
        "x-opt-sequence-number",
    ]


async def test_settlement_has_two_phases_and_echoes_the_outcome(peer: Peer) -> None:
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q"), peer.credit(1, 4))
    for _ in range(4):
        peer.send(0, message())
    states: list[p.DeliveryState] = [
        p.Accepted(),
        p.Modified(True, False),
        p.Rejected(p.Error("com.microsoft:dead-letter", None, {})),
        p.Released(),
    ]
    echoes = [p.Accepted(), p.Modified(), p.Rejected(), p.Released()]
    for state, echo in zip(states, echoes, strict=True):
        transfer, _ = await peer.hear_message(1)
        number = transfer.delivery_id
        assert number is not None
        peer.say(p.Disposition(True, number, None, False, state))
        answer = await peer.hear(p.Disposition, role=False, first=number)
        assert (answer.settled, answer.state) == (True, echo)


async def test_a_settlement_that_is_settled_already_is_not_answered(peer: Peer) -> None:
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q"), peer.credit(1, 1))
    peer.send(0, message())
    transfer, _ = await peer.hear_message(1)
    assert transfer.delivery_id is not None
    peer.say(p.Disposition(True, transfer.delivery_id, None, True, p.Accepted()))
    left = await peer.quiet()
    assert not any(isinstance(each, p.Disposition) and not each.role for each in left)


async def test_a_late_settlement_after_detach_is_ignored(peer: Peer) -> None:
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q"), peer.credit(1, 1))
    peer.send(0, message())
    transfer, _ = await peer.hear_message(1)
    assert transfer.delivery_id is not None
    peer.say(
        p.Detach(1, True), p.Disposition(True, transfer.delivery_id, None, False, p.Accepted())
    )
    left = await peer.quiet()
    assert not any(isinstance(each, p.Disposition) and not each.role for each in left)
    peer.open_node("q/$management")
    assert transfer.delivery_tag is not None
    token = uuid.UUID(bytes_le=transfer.delivery_tag)
    status, _ = await peer.ask(
        question(
            {"operation": "com.microsoft:update-disposition"},
            {
                "disposition-status": "completed",
                "lock-tokens": Array([token], of=uuid.UUID),
            },
        )
    )
    assert status["statusCode"] == 200


async def test_received_and_deleted_messages_are_settled_without_tag_or_lock(peer: Peer) -> None:
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q", snd=1), peer.credit(1, 1))
    peer.send(0, message())
    transfer, payload = await peer.hear_message(1)
    assert (transfer.settled, transfer.delivery_tag) == (True, None)
    parts = m.slice_message(payload)
    assert parts.delivery_annotations != b""
    assert m.read_map(parts.delivery_annotations) == {}
    assert "x-opt-locked-until" not in m.read_map(parts.message_annotations)


async def test_a_drain_uses_up_the_credit_after_what_is_there(peer: Peer) -> None:
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q"))
    peer.send(0, message(b"1"))
    await peer.hear(p.Disposition, role=True)
    peer.say(peer.credit(1, 5, drain=True))
    flow = await peer.hear(p.Flow, handle=1)
    assert (flow.delivery_count, flow.link_credit, flow.drain) == (5, 0, True)
    _, payload = await peer.hear_message(1)
    assert data_of(payload) == b"1"
    peer.send(0, message(b"2"))
    peer.say(peer.credit(1, 1, count=5))
    _, payload = await peer.hear_message(1)
    assert data_of(payload) == b"2"


async def test_the_peers_frame_size_and_window_are_honoured(port: int) -> None:
    peer = await Peer.connect(port, frame_size=512, window=10)
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q"), peer.credit(1, 1))
    await peer.hear(p.Attach, handle=1)
    body = bytes(n % 251 for n in range(20_000))
    peer.say(p.Flow(0, 10, 0, 5_000, 1, 0, 1))
    peer.send(0, message(body))
    await peer.hear(p.Disposition, role=True)

    def transfers() -> int:
        return sum(
            isinstance(item, Frame) and isinstance(item.performative, p.Transfer)
            for item in peer.seen
        )

    peer.say(p.Flow(0, 10, peer.sent, 5_000, echo=True))
    await peer.hear(p.Flow, handle=None)
    assert transfers() == 10
    peer.say(p.Flow(10, 1_000, peer.sent, 5_000))
    _, payload = await peer.hear_message(1)
    assert data_of(payload) == body
    await peer.close()


async def test_refusals_are_an_attach_without_the_own_end_and_a_detach_with_the_reason(
    peer: Peer,
) -> None:
    peer.say(peer.receiver(0, "nope"), peer.sender(1, "nope"), peer.receiver(2, "s"))
    for handle, condition in ((0, "amqp:not-found"), (1, "amqp:not-found")):
        attach = await peer.hear(p.Attach, handle=handle)
        assert (attach.source if handle == 0 else attach.target) is None
        detach = await peer.hear(p.Detach, handle=handle)
        assert detach.closed
        assert detach.error is not None
        assert detach.error.condition == condition
    refusal = await peer.hear(p.Detach, handle=2)
    assert refusal.error is not None
    assert refusal.error.condition == "amqp:not-allowed"


async def test_a_refused_message_has_an_error_of_three_fields(peer: Peer) -> None:
    peer.say(peer.sender(0, "s"))
    peer.send(0, message())
    peer.send(0, message(b"x" * 300_000, group_id="a"))
    peer.send(0, b"no message")
    conditions = []
    for _ in range(3):
        rejected = (await peer.hear(p.Disposition, role=True)).state
        assert isinstance(rejected, p.Rejected)
        assert rejected.error is not None
        assert rejected.error.description is not None
        assert rejected.error.info == {}
        conditions.append(rejected.error.condition)
    assert conditions == [
        "amqp:not-allowed",
        "amqp:link:message-size-exceeded",
        "amqp:decode-error",
    ]


async def test_64_links_wait_for_sessions_and_each_gets_one_with_its_message(
    port: int, peer: Peer
) -> None:
    pump = await Peer.connect(port)
    for handle in range(64):
        pump.say(pump.receiver(handle, "s", filters={SESSION: None}), pump.credit(handle, 1))
    assert not any(isinstance(each, p.Attach) for each in await pump.quiet())
    peer.say(peer.sender(0, "s"))
    for n in range(64):
        peer.send(0, message(str(n).encode(), group_id=f"c{n}"))
    for handle in range(64):
        attach = await pump.hear(p.Attach, handle=handle)
        assert isinstance(attach.source, p.Source)
        assert attach.source.filter == {SESSION: f"c{handle}"}
        assert (attach.properties or {})["com.microsoft:locked-until-utc"] > 0
        _, payload = await pump.hear_message(handle)
        assert data_of(payload) == str(handle).encode()
    await pump.close()


async def test_when_a_connection_dies_its_sessions_go_on_at_once(port: int, peer: Peer) -> None:
    dying = await Peer.connect(port)
    dying.say(dying.receiver(0, "s", filters={SESSION: "a"}), dying.credit(0, 1))
    peer.say(peer.sender(0, "s"), peer.receiver(1, "s", filters={SESSION: None}))
    peer.say(peer.credit(1, 1))
    peer.send(0, message(b"1", group_id="a"))
    await dying.hear_message(0)
    started = time.monotonic()
    dying.hang_up()
    _, payload = await peer.hear_message(1)
    assert data_of(payload) == b"1"
    assert m.read_header(m.slice_message(payload).header).delivery_count == 0
    assert time.monotonic() - started < 1


async def test_a_session_id_that_is_no_string_is_refused_and_a_wait_has_its_end(
    peer: Peer,
) -> None:
    soon = peer.receiver(1, "s", filters={SESSION: None})._replace(
        properties={Symbol("com.microsoft:timeout"): UInt(50)}
    )
    peer.say(peer.receiver(0, "s", filters={SESSION: 1}), soon)
    for handle, condition in ((0, "amqp:not-allowed"), (1, "com.microsoft:timeout")):
        detach = await peer.hear(p.Detach, handle=handle)
        assert detach.error is not None
        assert detach.error.condition == condition


@pytest.mark.parametrize(
    ("operation", "body", "status", "condition"),
    [
        ("dance", {}, 501, "amqp:not-implemented"),
        ("peek-message", {}, 400, "com.microsoft:argument-error"),
        ("peek-message", None, 400, "com.microsoft:argument-error"),
        ("peek-message", {"from-sequence-number": 0, "message-count": Int(5)}, 204, None),
        ("renew-lock", {"lock-tokens": [1]}, 400, "com.microsoft:argument-error"),
        (
            "renew-lock",
            {"lock-tokens": Array([uuid.UUID(int=1)], of=uuid.UUID)},
            410,
            "com.microsoft:message-lock-lost",
        ),
        (
            "cancel-scheduled-message",
            {"sequence-numbers": Array([5], of=int)},
            404,
            "com.microsoft:message-not-found",
        ),
        (
            "schedule-message",
            {"messages": [{"message": b"no message"}]},
            400,
            "amqp:decode-error",
        ),
        ("get-session-state", {"session-id": "x"}, 410, "com.microsoft:session-lock-lost"),
        ("add-rule", {"rule-name": "r", "rule-description": {}}, 400, "amqp:not-allowed"),
    ],
)
async def test_management_answers_every_request(
    peer: Peer, operation: str, body: object, status: int, condition: str | None
) -> None:
    peer.open_node("q/$management")
    answer, _ = await peer.ask(question({"operation": f"com.microsoft:{operation}"}, body))
    assert (answer["statusCode"], answer.get("errorCondition")) == (status, condition)


async def test_heartbeats_come_as_often_as_the_peer_wants(port: int) -> None:
    peer = await Peer.connect(port, idle_ms=300)
    for _ in range(3):
        await peer.hear_frame(lambda frame: frame.performative is None)
    await peer.close()


async def test_a_full_disk_rejects_sends_and_the_next_succeeds(tmp_path: Path) -> None:
    server = Server(CONFIG, Ports(amqp=0, http=None), data=tmp_path / "bus.db")
    number, _ = await server.start()
    peer = await Peer.connect(number)
    peer.say(peer.sender(0, "q"), peer.receiver(1, "q"), peer.credit(1, 5))
    with full_disk(tmp_path / "bus.db"):
        peer.send(0, message(b"x" * 200_000))
        rejected = (await peer.hear(p.Disposition, role=True)).state
    assert isinstance(rejected, p.Rejected)
    peer.send(0, message(b"after"))
    assert (await peer.hear(p.Disposition, role=True)).state == p.Accepted()
    _, payload = await peer.hear_message(1)
    assert data_of(payload) == b"after"
    await peer.close()
    await server.stop()
