"""Times of triggers are read as `azure.functions` reads them, without its search for their form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.functions import get_binding_registry, meta
from azure.functions.meta import Datum

from aos.bootstrap.trigger_times import read_times_at_once

TEXTS = [
    "2026-11-29T08:05:27",
    "2026-11-29T08:05:27Z",
    "2026-11-29T08:05:27.5",
    "2026-11-29T08:05:27.123Z",
    "2026-11-29T08:05:27.123456",
    "2026-11-29T08:05:27.1234567Z",
    "2026-11-29T08:05:27.123456789",
    "2026-11-29T08:05:27+00:00",
    "2026-11-29T08:05:27.123-00:00",
    "2026-11-29T08:05:27.1234567+00:00",
    "9999-12-31T23:59:59.9999999",
    "2026-11-29T08:05:27+02:00",
    "2026-11-29T08:05",
    "2026-11-29 08:05:27",
    "2026-W48-7T08:05:27",
    "2026-11-29T08:05:27,5",
    "2026-02-30T08:05:27Z",
    "2026-11-29T24:00:00",
    "2026-11-29T08:05:60Z",
    "\uff12\uff10\uff12\uff16-11-29T08:05:27",
    "11/29/2026 08:05:27Z",
    "11/29/2026 08:05:27.5+00:00",
    "11/29/2026T08:05:27",
    "soon",
    "",
    None,
]


@pytest.fixture(scope="module")
def by_the_library() -> dict[str | None, object]:
    """What the library reads."""
    return {text: _read(text) for text in TEXTS}


@pytest.fixture
def _at_once(by_the_library: object) -> Iterator[None]:
    undo = read_times_at_once()
    yield
    undo()


def _read(text: str | None) -> object:
    """The time of a message at which the host says this, or what the library raises."""
    metadata = {"UserProperties": Datum("{}", "json"), "EnqueuedTimeUtc": Datum(text, "string")}
    converter = get_binding_registry().get("serviceBusTrigger")
    try:
        message = converter.decode(Datum("{}", "string"), trigger_metadata=metadata)
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        return type(error)
    found = message.enqueued_time_utc
    return None if found is None else (found.isoformat(), found.tzinfo)


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("text", TEXTS)
def test_a_time_is_the_one_that_the_library_reads(
    text: str | None, by_the_library: dict[str | None, object]
) -> None:
    assert _read(text) == by_the_library[text]


@pytest.mark.usefixtures("_at_once")
def test_the_times_of_the_host_need_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*given: Any) -> Any:
        raise AssertionError(f"the library searches the form of {given[0]}")

    monkeypatch.setattr(meta, "try_parse_datetime_with_formats", search)
    for text in ("2026-11-29T08:05:27.123", "9999-12-31T23:59:59.9999999", "2026-11-29T08:05:27Z"):
        assert isinstance(_read(text), tuple), text


@pytest.mark.usefixtures("_at_once")
def test_replacing_them_again_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    read_times_at_once()()
    test_the_times_of_the_host_need_no_search(monkeypatch)
