"""Does the server outlive clients that speak nonsense?"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from devhost.amqp import message as m
from devhost.amqp import performatives as p
from devhost.amqp.frames import AMQP_HEADER, SASL_FRAME, SASL_HEADER, encode_frame
from devhost.amqp.sasl import SaslInit
from devhost.amqp.types import Described, Symbol
from devhost.servicebus.config import parse_config
from devhost.servicebus.policies import WELL_KNOWN
from devhost.servicebus.server import Ports, Server
from tests.unit.servicebus.peer import SESSION, Peer, message, question

ROUNDS = 300
RIGHT_KEY = f"\0{WELL_KNOWN.name}\0{WELL_KNOWN.keys[0]}".encode()
CONFIG = parse_config(
    {
        "UserConfig": {
            "Namespaces": [
                {
                    "Queues": [
                        {"Name": "q", "Properties": {"LockDuration": "PT5S"}},
                        {"Name": "s", "Properties": {"RequiresSession": True}},
                    ],
                    "Topics": [{"Name": "t", "Subscriptions": [{"Name": "a"}]}],
                }
            ]
        }
    }
)


def conversation(dice: random.Random) -> list[bytes]:
    """Frames that make sense, mostly, in an order that does not always."""
    addresses = ["q", "s", "t", "t/subscriptions/a", "q/$management", "$cbs", "nope", ""]
    operations = ["peek-message", "renew-lock", "schedule-message", "update-disposition", "x"]
    number = dice.randrange(5)
    source = p.Source(
        dice.choice(addresses), filter=dice.choice([None, {SESSION: None}, {SESSION: 5}])
    )
    body = {
        "lock-tokens": [1, None],
        "messages": [{"message": message()}, 5],
        "message-count": dice.choice([-1, 1 << 62, "x"]),
        "from-sequence-number": dice.choice([-5, 0]),
    }
    asked = question({"operation": "com.microsoft:" + dice.choice(operations)}, body)
    frames: list[tuple[Any, bytes]] = [
        (p.Attach("a", number, True, 0, 1, source, p.Target("x")), b""),
        (p.Attach("b", number, False, 0, 0, p.Source("x"), p.Target(source.address)), b""),
        (p.Flow(0, 5, 0, 5, number, dice.randrange(3), dice.randrange(5)), b""),
        (p.Flow(None, 0, 0, 0, number, link_credit=1 << 31, drain=True, echo=True), b""),
        (p.Transfer(number, 0, b"t", 0, more=dice.random() < 0.2), message(group_id="a")),
        (p.Transfer(number, 1, b"t", m.BATCH_FORMAT), m.encode_data_section(message())),
        (p.Transfer(number, 2, b"t", 0, aborted=True), asked),
        (p.Transfer(number, 3, b"t", 0), asked),
        (p.Disposition(True, 0, 0xFFFFFFFF, False, p.Accepted()), b""),
        (p.Disposition(True, 0, 2, True, Described(Symbol("odd"), [])), b""),
        (p.Detach(number, True), b""),
        (p.End(), b""),
    ]
    said = [dice.choice(frames) for _ in range(dice.randrange(1, 40))]
    return [
        encode_frame(7 if isinstance(performative, p.End) else 0, performative, payload)
        for performative, payload in said
    ]


def noise(dice: random.Random) -> bytes:
    """One connection's bytes."""
    parts = [encode_frame(0, p.Open("noise")), encode_frame(0, p.Begin(None, 0, 50, 50))]
    key = dice.choice([RIGHT_KEY, RIGHT_KEY, RIGHT_KEY, b"x", b"\0\xff\0", None])
    parts.insert(0, SASL_HEADER + encode_frame(0, SaslInit("PLAIN", key), type=SASL_FRAME))
    parts.insert(1, AMQP_HEADER)
    whole = bytearray(b"".join(parts + conversation(dice)))
    if dice.random() < 0.5:
        for _ in range(dice.randrange(1, 8)):
            whole[dice.randrange(8, len(whole))] = dice.randrange(256)
    return bytes(whole)


async def test_nonsense_raises_nothing_and_others_are_served() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, fault: faults.append(fault))
    server = Server(CONFIG, Ports(amqp=0, http=None))
    port, _ = await server.start()
    dice = random.Random(11)
    for _ in range(ROUNDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(noise(dice))
        with contextlib.suppress(ConnectionError):
            writer.write_eof()
            async with asyncio.timeout(5):
                while await reader.read(65_536):
                    pass
        writer.transport.abort()
    peer = await Peer.connect(port)
    peer.say(peer.sender(0, "q"))
    peer.send(0, message())
    assert (await peer.hear(p.Disposition, role=True)).state == p.Accepted()
    await peer.close()
    await server.stop()
    assert faults == []
