"""The JSON of az is found among the sentences that az and bicep print."""

from __future__ import annotations

import pytest

from infra.orchestrator.azure_cli import Answer
from infra.orchestrator.exit_codes import Halt

NOISY = {
    "nothing else": '{"a": [1]}',
    "a sentence before": 'A new Bicep release is available: v0.50.1.\n{"a": [1]}\n',
    "a line of the linter before": (
        "/repo/infra/main.bicep(1,1) : Info use-safe-access: Consider `.?`. [https://aka.ms/x]\n"
        '{"a": [1]}'
    ),
    "a line in brackets before": '[warning] the CLI is old\n[1] see above\n{\n  "a": [1]\n}\n',
    "JSON of its own before": '{"telemetry": true}\n{"a": [1]}',
    "a sentence after": '{"a": [1]}\nPlease provide feedback.\n',
    "a byte order mark and Windows lines": '\ufeffHint.\r\n{\r\n "a": [1]\r\n}\r\n',
    "indented": '  note {x}\n  {"a": [1]}',
}


def read(out: str) -> object:
    return Answer(command="version", code=0, out=out, err="").parse_json()


@pytest.mark.parametrize("name", NOISY)
def test_json_is_found(name: str) -> None:
    assert read(NOISY[name]) == {"a": [1]}


@pytest.mark.parametrize("out", ["", "No subscription found.", "[warning] old", '{"a": ', "{x}"])
def test_what_has_no_json_halts(out: str) -> None:
    with pytest.raises(Halt, match="did not print JSON"):
        read(out)


@pytest.mark.parametrize("out", ["null", "[]", '"x"', "[]\n"])
def test_json_of_every_kind_is_read_where_it_stands_alone(out: str) -> None:
    assert read(out) in (None, [], "x")
