"""The host's own lines are JSON, one each, and a traceback is told once."""

from __future__ import annotations

import asyncio
import json

import pytest

from devhost.functions.log import say, say_failed, watch_task


def _fail(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_a_line_is_one_json_object_without_empty_fields(capsys: pytest.CaptureFixture[str]) -> None:
    say("info", "host.started", port=1, note=None)
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["level"], line["port"]) == ("host.started", "info", 1)
    assert line["timestamp"].endswith("+00:00")
    assert "note" not in line


def test_the_same_failure_tells_its_traceback_once(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("first\nline", "second"):
        say_failed("f", _fail(text), message_id="m")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["error"] == "ValueError: first line"
    assert "raise ValueError(text)" in first["traceback"]
    assert (second["error"], "traceback" in second) == ("ValueError: second", False)


def test_a_failure_that_the_app_logged_is_a_line_of_the_level_debug_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = _fail("another handler has it")
    error.add_note("logged: session_lost")
    say_failed("f", error, message_id="m")
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["error"]) == ("debug", "ValueError: another handler has it")
    assert "traceback" not in line


async def test_a_part_of_the_host_that_ends_unexpectedly_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def part() -> None:
        raise LookupError("gone")

    task = watch_task(asyncio.create_task(part(), name="timer t"))
    await asyncio.wait({task})
    await asyncio.sleep(0)
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["task"], line["error"]) == (
        "host.task_failed",
        "timer t",
        "LookupError: gone",
    )
