"""Defines the frames and composite types of AMQP 1.0. Entry point: `Performative`.

They are named tuples in the order of the specification (parts 2 and 3). An absent field is None,
even where the specification has a default. `composites` reads and writes them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from devhost.amqp.composites import define
from devhost.amqp.types import Described, Value

Map: TypeAlias = dict[Any, Any]
"""An AMQP map; its keys are usually symbols."""


class Error(NamedTuple):
    """Why something was refused or closed; `info` may tell more."""

    condition: str
    description: str | None = None
    info: Map | None = None


class Accepted(NamedTuple):
    """The outcome of success: a send is stored, a message is completed."""


class Rejected(NamedTuple):
    """The outcome of a refusal; from a Service Bus receiver it means: dead-letter."""

    error: Error | None = None


class Released(NamedTuple):
    """The outcome of a message that was not processed: it goes back, no delivery is counted."""


class Modified(NamedTuple):
    """The outcome that abandons a message, or defers it if `undeliverable_here`."""

    delivery_failed: bool | None = None
    undeliverable_here: bool | None = None
    message_annotations: Map | None = None


class Received(NamedTuple):
    """How far a delivery got (a state, not an outcome)."""

    section_number: int
    section_offset: int


DeliveryState: TypeAlias = Accepted | Rejected | Released | Modified | Received | Described
"""The state of a delivery; `Described` is an unknown one."""


class Source(NamedTuple):
    """The node from which a link takes messages."""

    address: Value = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: Map | None = None
    distribution_mode: str | None = None
    filter: Map | None = None
    default_outcome: Value = None
    outcomes: Value = None
    capabilities: Value = None


class Target(NamedTuple):
    """The node to which a link brings messages."""

    address: Value = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: Map | None = None
    capabilities: Value = None


class Open(NamedTuple):
    """The first frame of a connection; `idle_time_out` in milliseconds."""

    container_id: str
    hostname: str | None = None
    max_frame_size: int | None = None
    channel_max: int | None = None
    idle_time_out: int | None = None
    outgoing_locales: Value = None
    incoming_locales: Value = None
    offered_capabilities: Value = None
    desired_capabilities: Value = None
    properties: Map | None = None


class Begin(NamedTuple):
    """The first frame of a session; `remote_channel` is set in the answer only."""

    remote_channel: int | None
    next_outgoing_id: int
    incoming_window: int
    outgoing_window: int
    handle_max: int | None = None
    offered_capabilities: Value = None
    desired_capabilities: Value = None
    properties: Map | None = None


class Attach(NamedTuple):
    """The first frame of a link; `role` is True for the receiving end."""

    name: str
    handle: int
    role: bool
    snd_settle_mode: int | None = None
    rcv_settle_mode: int | None = None
    source: Source | Described | None = None
    target: Target | Described | None = None
    unsettled: Map | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Value = None
    desired_capabilities: Value = None
    properties: Map | None = None


class Flow(NamedTuple):
    """The session's windows and, with a handle, the link's credit."""

    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: Map | None = None


class Transfer(NamedTuple):
    """A delivery or a part of one; the payload follows in the frame."""

    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: DeliveryState | None = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


class Disposition(NamedTuple):
    """The state of the deliveries `first` … `last`, sent by the end with this `role`."""

    role: bool
    first: int
    last: int | None = None
    settled: bool | None = None
    state: DeliveryState | None = None
    batchable: bool | None = None


class Detach(NamedTuple):
    """The last frame of a link."""

    handle: int
    closed: bool | None = None
    error: Error | None = None


class End(NamedTuple):
    """The last frame of a session."""

    error: Error | None = None


class Close(NamedTuple):
    """The last frame of a connection."""

    error: Error | None = None


Performative: TypeAlias = (
    Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close
)

define(0x1D, "amqp:error:list", Error, "symbol! string map")
define(0x23, "amqp:received:list", Received, "uint! ulong!")
define(0x24, "amqp:accepted:list", Accepted, "")
define(0x25, "amqp:rejected:list", Rejected, "composite")
define(0x26, "amqp:released:list", Released, "")
define(0x27, "amqp:modified:list", Modified, "bool bool map")
define(
    0x28,
    "amqp:source:list",
    Source,
    "any uint symbol uint bool map symbol map composite symbols symbols",
)
define(0x29, "amqp:target:list", Target, "any uint symbol uint bool map symbols")
define(
    0x10,
    "amqp:open:list",
    Open,
    "string! string uint ushort uint symbols symbols symbols symbols map",
)
define(0x11, "amqp:begin:list", Begin, "ushort uint! uint! uint! uint symbols symbols map")
define(
    0x12,
    "amqp:attach:list",
    Attach,
    "string! uint! bool! ubyte ubyte composite composite map bool uint ulong symbols symbols map",
)
define(0x13, "amqp:flow:list", Flow, "uint uint! uint! uint! uint uint uint uint bool bool map")
define(
    0x14,
    "amqp:transfer:list",
    Transfer,
    "uint! uint binary uint bool bool ubyte composite bool bool bool",
)
define(0x15, "amqp:disposition:list", Disposition, "bool! uint! uint bool composite bool")
define(0x16, "amqp:detach:list", Detach, "uint! bool composite")
define(0x17, "amqp:end:list", End, "composite")
define(0x18, "amqp:close:list", Close, "composite")
