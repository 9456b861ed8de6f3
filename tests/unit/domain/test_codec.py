"""The dataclass is the shape: what the codec writes, what it reads, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import pytest

from aos.domain.codec import OMITTED, ShapeError, decode, encode
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import AdmittedRequest, Run, Usage
from tests.golden.values import FULL_HEAD, MINIMAL_REQUEST, MINIMAL_RUN


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dog:
    type: Literal["Dog"] = "Dog"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cat:
    type: Literal["Cat"] = "Cat"
    lives: int = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    name: str
    rooms: int
    name_and_rooms: str = field(init=False)
    colour: Colour
    pet: Dog | Cat | None = None
    guests: tuple[Dog, ...] = field(default=(), metadata=OMITTED)
    built_at: datetime | None = None
    rent: float = 0.5
    sold: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rooms < 0:
            raise ValueError("rooms is negative")
        object.__setattr__(self, "name_and_rooms", f"{self.name} {self.rooms}")


SMALL = {"name": "hut", "rooms": 1, "colour": "red"}


def test_the_object_has_the_fields_in_their_order_and_comes_back_as_the_value() -> None:
    house = House(
        name="hall",
        rooms=3,
        colour=Colour.BLUE,
        pet=Cat(lives=7),
        guests=(Dog(name="rex"),),
        built_at=datetime(2030, 1, 1, tzinfo=UTC),
        labels={"a": 1},
    )
    raw = encode(house)
    assert list(raw.items()) == [
        ("name", "hall"),
        ("rooms", 3),
        ("name_and_rooms", "hall 3"),
        ("colour", "blue"),
        ("pet", {"type": "Cat", "lives": 7}),
        ("guests", [{"type": "Dog", "name": "rex"}]),
        ("built_at", "2030-01-01T00:00:00.000Z"),
        ("rent", 0.5),
        ("sold", False),
        ("labels", {"a": 1}),
    ]
    assert decode(House, raw) == house
    assert encode(house, without=("pet", "guests")).keys() == raw.keys() - {"pet", "guests"}


def test_an_omitted_field_is_not_written_and_what_is_missing_or_null_takes_its_default() -> None:
    house = decode(House, SMALL)
    assert house == House(name="hut", rooms=1, colour=Colour.RED)
    assert "guests" not in encode(house)
    nulls = dict.fromkeys(("pet", "guests", "built_at", "rent", "sold", "labels"))
    assert decode(House, {**SMALL, **nulls}) == house


def test_unknown_and_computed_fields_are_not_read() -> None:
    assert decode(House, {**SMALL, "cellar": 1, "name_and_rooms": 5}) == decode(House, SMALL)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert repr(decode(House, {**SMALL, "rooms": 2.0}).rooms) == "2"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"name": None}, "House.name is not a text but NoneType"),
        ({"name": 5}, "House.name is not a text but int"),
        ({"rooms": "1"}, "House.rooms is not a whole number but str"),
        ({"rooms": 1.5}, "House.rooms is not a whole number but float"),
        ({"rooms": True}, "House.rooms is not a whole number but bool"),
        ({"rooms": -1}, "House: rooms is negative"),
        ({"rent": "1"}, "House.rent is not a number but str"),
        ({"sold": 1}, "House.sold is not true or false but int"),
        ({"labels": []}, "House.labels is not an object but list"),
        ({"colour": "green"}, "House.colour is not one of 'red', 'blue' but 'green'"),
        ({"colour": ["red"]}, "House.colour is not one of 'red', 'blue' but ['red']"),
        ({"built_at": 5}, "House.built_at is not a time but 5"),
        ({"built_at": "noon"}, "House.built_at is not a time but 'noon'"),
        ({"built_at": "2030-01-01"}, "House.built_at is not a time with an offset"),
        ({"guests": {}}, "House.guests is not a list but dict"),
        ({"guests": [{"name": "a"}, 5]}, "House.guests[1] is not an object but int"),
        ({"guests": [{}]}, "House.guests[0] lacks name"),
        ({"guests": [{"type": "Cat", "name": "a"}]}, "House.guests[0].type is not one of 'Dog'"),
        ({"pet": {"type": "Cow"}}, "House.pet is not of a known type (Dog, Cat) but 'Cow'"),
        ({"pet": {"type": ["Cat"]}}, "House.pet is not of a known type (Dog, Cat) but ['Cat']"),
        ({"pet": 5}, "House.pet is not of a known type (Dog, Cat) but None"),
        ({"pet": {"type": "Cat", "lives": "9"}}, "House.pet.lives is not a whole number but str"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ShapeError) as caught:
        decode(House, {**SMALL, **more})
    assert str(caught.value).startswith(says)


def test_a_missing_field_and_a_value_that_is_no_object_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"^House lacks rooms$"):
        decode(House, {"name": "hut"})
    with pytest.raises(ShapeError, match=r"^House is not an object but list$"):
        decode(House, [])


def test_rows_of_the_first_versions_are_read() -> None:
    """They lack every field that was added since; a door of a newer version is read as well."""
    request = encode(MINIMAL_REQUEST)
    first = {name: request[name] for name in list(request)[:9]}
    assert decode(AdmittedRequest, first) == MINIMAL_REQUEST
    assert decode(AdmittedRequest, {**first, "door": "carrier-pigeon"}).door == "carrier-pigeon"
    names = ("run_id", "agent_id", "conversation_id", "status", "created_at", "ended_at")
    assert decode(Run, {name: encode(MINIMAL_RUN)[name] for name in names}) == MINIMAL_RUN
    assert decode(Usage, {}) == Usage()
    head = encode(FULL_HEAD)
    for name in ("server_digest", "schema_digest"):
        del head["active"]["calls"][0][name]
    for name in ("calls", "child_tokens", "wake_at", "tools_since", "turns"):
        del head["active"][name]
    active = decode(Conversation, head).active
    assert isinstance(active, ActiveRun)
    assert (active.calls, active.child_tokens, active.turns) == ((), 0, 0)


def test_an_open_call_without_digests_is_read() -> None:
    raw = {"tool_call_id": "c", "name": "n", "written": "{}", "state": "called"}
    read = decode(OpenCall, raw)
    assert read == OpenCall(tool_call_id="c", name="n", written="{}", state="called")


def test_a_field_that_may_be_none_may_have_no_other_default() -> None:
    """None is written as null, and null is read as the default."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Ambiguous:
        after: str | None = ""

    with pytest.raises(TypeError, match=r"Ambiguous.after may be None"):
        decode(Ambiguous, {"after": None})
