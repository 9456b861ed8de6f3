"""Keys open functions as in Azure."""

from __future__ import annotations

from pathlib import Path

import pytest

from devhost.functions.errors import HostError
from devhost.functions.keys import Keys

KEYS = Keys({"default": "d", "second": "s", "admin": "a"})

ALLOWED = [
    ("ANONYMOUS", {}, {}, True),
    ("FUNCTION", {}, {}, False),
    ("FUNCTION", {"x-functions-key": "d"}, {}, True),
    ("FUNCTION", {"x-functions-key": "a"}, {}, True),
    ("FUNCTION", {}, {"code": "s"}, True),
    ("FUNCTION", {"x-functions-key": "wrong"}, {"code": "s"}, False),
    ("FUNCTION", {"x-functions-key": "ü"}, {}, False),
    ("FUNCTION", {"x-functions-key": "\udce9"}, {}, False),
    ("FUNCTION", {}, {"code": "\ud800"}, False),
    ("ADMIN", {"x-functions-key": "d"}, {}, False),
    ("ADMIN", {"x-functions-key": "a"}, {}, True),
    ("ADMIN", {}, {"code": "a"}, True),
]


@pytest.mark.parametrize(("level", "headers", "query", "expected"), ALLOWED)
def test_a_key_opens_what_its_level_allows(
    level: str, headers: dict[str, str], query: dict[str, str], expected: bool
) -> None:
    assert KEYS.allow(level, headers, query) is expected


@pytest.mark.parametrize("text", ["", "[]", '{"default": ""}', '{"default": 1}'])
def test_a_wrong_key_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(HostError, match="the key file"):
        Keys.read(file)
