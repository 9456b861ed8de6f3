"""Are a message's sections found in any order, kept byte for byte, and refused when repeated?"""

from __future__ import annotations

import pytest

from devhost.amqp import message as m
from devhost.amqp.encode import encode_value
from devhost.amqp.errors import DecodeError
from devhost.amqp.types import Described, Symbol, UInt

HEADER = m.encode_composite_section(m.Header(durable=True, ttl=5000))
ANNOTATIONS = m.encode_map_section(m.MESSAGE_ANNOTATIONS, {Symbol("x-opt-partition-key"): "p"})
PROPERTIES = m.encode_composite_section(m.Properties(message_id="1", subject="s", group_id="g"))
DELIVERY = m.encode_map_section(m.DELIVERY_ANNOTATIONS, {Symbol("x-opt-hop"): 1})
FOOTER = m.encode_map_section(m.FOOTER, {Symbol("x-opt-sum"): 1})
APPLICATION = m.encode_map_section(m.APPLICATION_PROPERTIES, {"a": UInt(1)})


def test_a_message_is_cut_into_its_sections_and_keeps_its_bytes() -> None:
    body = m.encode_data_section(b"one") + m.encode_data_section(b"two")
    footer = m.encode_map_section(m.FOOTER, {})
    whole = HEADER + ANNOTATIONS + PROPERTIES + APPLICATION + body + footer
    sections = m.slice_message(whole)
    assert sections == m.Sections(HEADER, b"", ANNOTATIONS, PROPERTIES, APPLICATION, body, footer)
    assert sections.bare == PROPERTIES + APPLICATION + body + footer
    assert m.read_header(sections.header) == m.Header(durable=True, ttl=5000)
    assert m.read_properties(sections.properties).group_id == "g"
    assert m.read_map(sections.message_annotations) == {"x-opt-partition-key": "p"}
    assert m.read_body(sections.body) == m.Body(m.DATA, [b"one", b"two"])


def test_absent_sections_are_empty() -> None:
    sections = m.slice_message(m.encode_value_section({"k": 1}))
    assert m.read_header(sections.header) == m.Header()
    assert m.read_properties(sections.properties) == m.Properties()
    assert m.read_map(sections.application_properties) == {}
    assert m.read_body(sections.body) == m.Body(m.VALUE, [{"k": 1}])
    assert m.read_body(b"") == m.Body(0, [])


def test_sequences_are_a_body_too() -> None:
    body = m.encode_sequence_section([1, "two"]) + m.encode_sequence_section([3])
    assert m.read_body(m.slice_message(body).body) == m.Body(m.SEQUENCE, [[1, "two"], [3]])


BODY = m.encode_data_section(b"one") + m.encode_data_section(b"two")
IN_ORDER = (HEADER, DELIVERY, ANNOTATIONS, PROPERTIES, APPLICATION, BODY, FOOTER)


@pytest.mark.parametrize(
    "written",
    [
        IN_ORDER,
        (HEADER, ANNOTATIONS, PROPERTIES, APPLICATION, BODY, FOOTER, DELIVERY),
        (BODY, PROPERTIES, HEADER, FOOTER, ANNOTATIONS, DELIVERY, APPLICATION),
        IN_ORDER[::-1],
        (*IN_ORDER[:5], m.encode_data_section(b"one"), FOOTER, m.encode_data_section(b"two")),
    ],
    ids=["as AMQP lists them", "delivery annotations last", "mixed", "reversed", "body in two"],
)
def test_sections_are_found_in_whatever_order_they_are_written(written: tuple[bytes, ...]) -> None:
    assert m.slice_message(b"".join(written)) == m.Sections(*IN_ORDER)


def test_symbolic_descriptors_are_sections_too() -> None:
    body = encode_value(Described(Symbol("amqp:data:binary"), b"x"))
    assert m.read_body(m.slice_message(body).body) == m.Body(m.DATA, [b"x"])


@pytest.mark.parametrize(
    "data",
    [
        HEADER + HEADER,
        HEADER + PROPERTIES + HEADER,
        m.encode_data_section(b"") + m.encode_sequence_section([]),
        PROPERTIES + DELIVERY + m.encode_data_section(b"") + DELIVERY,
        m.encode_data_section(b"") + m.encode_value_section(1),
        m.encode_value_section(1) + m.encode_value_section(1),
        encode_value("no section"),
        encode_value(Described(Symbol("foo"), 1)),
        PROPERTIES[:-3],
        b"\x00",
        b"\x00\x53",
    ],
    ids=repr,
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        m.slice_message(data)
