"""The `aos` command: what it prints, where, and its exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aos.client.cli import main as aos
from aos.client.validation import read_card_policy
from aos.domain.cards.policy import CardPolicy, LimitBounds
from tests.unit.catalog.cards import Cards, card
from tests.unit.client.stub_main import Say, StubMain, refusal
from tests.unit.client.test_tools import QUESTION

PLAN = Path(__file__).resolve().parents[2] / "fixtures" / "plan"
RUN: dict[str, Any] = {
    "run_id": "r1",
    "agent_id": "ceo",
    "conversation_id": "board",
    "status": "completed",
    "output": "Sell.",
    "error": None,
    "created_at": "2030-01-01T00:00:00.000Z",
}
APPROVAL: dict[str, Any] = {
    "run_id": "r1",
    "tool_call_id": "call_00000001_0_0",
    "agent_id": "ceo",
    "tool": "git/push",
    "arguments": {"branch": "main\x1b[2J"},
    "expires_at": "2030-01-02T00:00:00.000Z",
}


def test_ask_prints_the_answer_alone(main: StubMain, capsys: pytest.CaptureFixture[str]) -> None:
    main.then(Say(body=RUN))
    code = aos(["ask", "ceo", "What now?", "--conversation", "board", "--url", main.url])
    assert (code, *capsys.readouterr()) == (0, "Sell.\n", "")
    [seen] = main.seen
    assert (seen.path, seen.body["message"]) == ("/api/agents/ceo/run", "What now?")
    assert seen.body["conversation_id"] == "board"


def test_ask_takes_url_and_key_from_the_environment_and_the_message_from_stdin(
    main: StubMain, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOS_URL", main.url)
    monkeypatch.setenv("AOS_KEY", "s3cret")
    monkeypatch.setattr("sys.stdin", io.StringIO("A long\nletter"))
    main.then(Say(body=RUN))
    assert aos(["ask", "ceo", "-", "--idempotency-key", "k1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RUN
    [seen] = main.seen
    assert seen.body["message"] == "A long\nletter"
    assert (seen.headers["x-functions-key"], seen.headers["idempotency-key"]) == ("s3cret", "k1")


def test_ask_sends_files_with_the_message(
    main: StubMain, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cat.PNG").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "notes.md").write_text("# Notes")
    main.then(Say(body=RUN))
    files = ["--file", str(tmp_path / "cat.PNG"), "--file", str(tmp_path / "notes.md")]
    assert aos(["ask", "ceo", "What is this?", *files, "--url", main.url]) == 0
    assert main.seen[0].body["message"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "media_type": "image/png", "data": "iVBORw0KGgo="},
        {
            "type": "file",
            "name": "notes.md",
            "media_type": "text/markdown",
            "data": "IyBOb3Rlcw==",
        },
    ]


@pytest.mark.parametrize(
    ("name", "says"), [("none.png", "cannot be read"), ("a.exe", "does not take the file")]
)
def test_ask_says_which_file_it_cannot_send(
    main: StubMain, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, says: str
) -> None:
    assert aos(["ask", "ceo", "Look", "--file", str(tmp_path / name), "--url", main.url]) == 2
    assert (says in capsys.readouterr().err, main.seen) == (True, [])


def test_ask_says_how_a_run_failed_and_what_to_do(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"code": "max_turns", "message": "64 turns are the limit"}
    main.then(Say(body=RUN | {"status": "failed", "output": "", "error": error}))
    main.then(Say(body=RUN | {"status": "cancelled", "output": ""}))
    main.then(Say(body=RUN | {"status": "in_progress"}, status=202))
    main.then(refusal("agent_not_found", "there is no agent 'ceo'"))
    codes = [aos(["ask", "ceo", "Hello", "--timeout", "0", "--url", main.url]) for _ in range(4)]
    assert (codes, *capsys.readouterr()) == (
        [1, 1, 4, 1],
        "",
        "failed: max_turns: 64 turns are the limit\n"
        "what to do: raise limits.max_turns in the agent's card, or see above what the agent tried"
        " again and again\n"
        "how it came: aos show r1\n"
        "cancelled (run r1)\n"
        "the run r1 is still in_progress; follow it with: aos tail r1\n"
        "agent_not_found: there is no agent 'ceo'\n",
    )


def test_when_nothing_is_up_one_line_says_what_to_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in (["ask", "ceo", "Hello"], ["runs"]):
        assert aos([*command, "--url", "http://127.0.0.1:9"]) == 2
        out, said = capsys.readouterr()
        assert out == ""
        assert said == (
            "nothing answers at http://127.0.0.1:9 (connection refused); start AOS with"
            " `make run`, or set another address with --url or AOS_URL\n"
        )


def test_an_impossible_url_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert aos(["runs", "--url", "localhost:7071"]) == 2
    assert capsys.readouterr().err.startswith("'localhost:7071' is not an address of AOS")


def test_runs_are_a_table_or_a_json_object_a_line(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(body={"items": [RUN], "next": None}))
    assert aos(["runs", "--agent", "ceo", "--status", "failed", "--url", main.url]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["CREATED", "STATUS", "AGENT", "RUN", "CONVERSATION"]
    assert row.split() == ["2030-01-01T00:00:00.000Z", "completed", "ceo", "r1", "board"]
    assert main.seen[0].path == "/api/runs?agent_id=ceo&status=failed"
    main.then(Say(body={"items": [RUN, RUN], "next": "/api/runs?after=2"}))
    assert aos(["runs", "--json", "--limit", "2", "--url", main.url]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [RUN, RUN]


def test_since_is_a_span_back_from_now_or_a_time(main: StubMain) -> None:
    for since in ("2h", "2030-01-01T12:00:00+02:00", "2030-01-01"):
        main.then(Say(body={"items": [], "next": None}))
        assert aos(["runs", "--since", since, "--url", main.url]) == 0
    asked = [seen.path.partition("since=")[2].replace("%3A", ":") for seen in main.seen]
    ago = datetime.now(UTC) - datetime.fromisoformat(asked[0])
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=1)
    assert asked[1:] == ["2030-01-01T10:00:00.000Z", "2030-01-01T00:00:00.000Z"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["validate"],
        ["ask", "ceo"],
        ["ask", "ceo", "x", "--timeout", "long"],
        ["ask", "ceo", "x", "--idempotency-key", "a\nb"],
        ["runs", "--since", "soon"],
        ["runs", "--since", "999999d"],
        ["runs", "--since", "0001-01-01T00:00:00+14:00"],
        ["runs", "--limit", "0"],
        ["runs", "--status", "done"],
    ],
)
def test_wrong_usage_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        aos(words)
    assert end.value.code == 2
    assert "usage: aos" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--url", "http://[::1"], "is not an address of AOS"),
        (["--url", "http://127.0.0.1:99999"], "is not an address of AOS"),
        (["--key", "a\r\nX: y"], "the key has blanks, line ends or non-ASCII characters"),
        (["--key", "é"], "the key has blanks, line ends or non-ASCII characters"),
    ],
)
def test_an_address_or_key_that_cannot_be_one_is_one_line_and_exits_2(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aos(["runs", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert text in line


def test_the_line_end_of_a_file_is_no_part_of_the_key(
    main: StubMain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOS_KEY", "s3cret\n")
    main.then(Say(body={"items": [], "next": None}))
    assert aos(["runs", "--url", main.url]) == 0
    assert main.seen[0].headers["x-functions-key"] == "s3cret"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--version"], ["--help"], ["ask", "-h"], ["runs", "-h"], ["validate", "-h"]):
        with pytest.raises(SystemExit) as end:
            aos(words)
        assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("aos 2.0.0\n")
    for word in ("AOS_URL", "AOS_KEY", "AOS_MCP_ALLOWED", "example:", "exit codes:"):
        assert word in said


def test_validate_accepts_the_plans_cards_and_shows_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert aos(["validate", str(PLAN)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{PLAN}/ceo.json: active", f"{PLAN}/github.json: active"]
    assert lines[2].startswith("  warning at env.GITHUB_PERSONAL_ACCESS_TOKEN: AOS_KEY_VAULT_URI")


async def test_validate_says_what_the_status_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = card(purpos="x", limits={"max_turns": 99})
    cards = Cards()
    await cards.upload("ceo", body)
    await cards.publisher().publish()
    told = await cards.status("ceo")
    (tmp_path / "ceo.json").write_bytes(body)
    assert aos(["validate", str(tmp_path / "ceo.json")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{tmp_path}/ceo.json: rejected",
        *(f"  error at {e['path']}: {e['message']}; {e['hint']}" for e in told["errors"]),
    ]
    assert aos(["validate", "--json", str(tmp_path)]) == 1
    [row] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["agent_id"], row["state"], row["errors"]) == ("ceo", "rejected", told["errors"])


def test_validate_judges_by_the_operators_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ceo.json").write_bytes(card(model="big", limits={"max_turns": 70}))
    monkeypatch.setenv("AOS_MODELS", "small,big")
    monkeypatch.setenv("AOS_MAX_TURNS", "80")
    assert aos(["validate", str(tmp_path)]) == 0
    monkeypatch.setenv("AOS_MODELS", "small")
    assert aos(["validate", str(tmp_path)]) == 1
    assert "the model 'big' is not in AOS_MODELS" in capsys.readouterr().out


def test_every_setting_that_cards_depend_on_is_read_and_no_other() -> None:
    environ = {
        "AOS_MODEL": "base",
        "AOS_MODELS": "small, big",
        "AOS_MCP_ALLOWED": "uvx a;npx -y @b/",
        "AOS_KEY_VAULT_URI": "https://v.vault.azure.net/",
        "AOS_MAX_TURNS": "9",
        "AOS_MAX_TOOL_CALLS": "8",
        "AOS_RUN_TIMEOUT_SECONDS": "70",
        "AOS_APPROVAL_TIMEOUT_SECONDS": "60",
        "AOS_KEY_OWNERS": "no card depends on these",
    }
    assert read_card_policy(environ) == CardPolicy(
        allowed_models=frozenset({"base", "small", "big"}),
        bounds=LimitBounds(
            max_turns=9, max_tool_calls=8, run_timeout_seconds=70, approval_timeout_seconds=60
        ),
        mcp_allowed=("uvx a", "npx -y @b/"),
        key_vault_uri="https://v.vault.azure.net",
        signs_webhooks=True,  # a secret of the installation, which `aos validate` cannot know
    )
    assert read_card_policy({}) == CardPolicy(signs_webhooks=True)


def test_validate_says_what_it_cannot_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aos(["validate", str(tmp_path / "nothing.json")]) == 2
    assert aos(["validate", str(tmp_path)]) == 2
    monkeypatch.setenv("AOS_MAX_TURNS", "many")
    assert aos(["validate", str(PLAN)]) == 2
    out, said = capsys.readouterr()
    assert (out, said.splitlines()) == (
        "",
        [
            f"'{tmp_path}/nothing.json' cannot be read: No such file or directory",
            f"there is no .json file in '{tmp_path}'",
            "AOS_MAX_TURNS='many' is not valid; write a whole number from 1 to 1000",
        ],
    )


def test_a_reader_that_has_had_enough_is_no_error(main: StubMain) -> None:
    items = [RUN | {"metadata": {"filling": "x" * 10_000}}] * 50
    main.then(Say(body={"items": items, "next": None}))
    command = f"{sys.executable} -m aos.client.cli runs --json --url {main.url} | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", 10)


def test_delete_deletes_each_conversation(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(status=202, body={"conversation_id": "c1"}), Say(status=202, body={}))
    assert aos(["delete", "c1", "c 2", "--url", main.url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "conversation c1 will be deleted",
        "conversation c 2 will be deleted",
    ]
    assert [(seen.method, seen.path) for seen in main.seen] == [
        ("DELETE", "/api/conversations/c1"),
        ("DELETE", "/api/conversations/c%202"),
    ]


def test_pause_says_who_paused_and_why(main: StubMain, capsys: pytest.CaptureFixture[str]) -> None:
    pause = {"by": "ops", "paused_at": "2030-01-01T00:00:00.000Z", "reason": "a bad card"}
    main.then(Say(body={"paused": True, "pause": pause}))
    assert aos(["pause", "--reason", "a bad card", "--url", main.url]) == 0
    assert capsys.readouterr().out == "paused by ops at 2030-01-01T00:00:00.000Z: a bad card\n"
    [seen] = main.seen
    assert (seen.path, seen.body) == ("/api/ops/pause", {"reason": "a bad card"})


def test_resume_says_that_aos_is_not_paused(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(body={"paused": False, "pause": None}))
    assert aos(["resume", "--url", main.url]) == 0
    assert capsys.readouterr().out == "not paused\n"
    assert main.seen[0].path == "/api/ops/resume"


def test_questions_are_shown_with_their_form_and_how_to_answer(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    link = {**QUESTION, "tool": "c/d", "requested_schema": None, "url": "https://x.example/1"}
    main.then(Say(body={"items": [QUESTION, link], "next": None}))
    assert aos(["questions", "--url", main.url]) == 0
    assert capsys.readouterr().out == (
        "a/b asks: Which seat?\n"
        "  seat: Seat (string)\n"
        "  window: window (boolean, may be left out)\n"
        "  size: size (S, L, may be left out)\n"
        "  until 2030-01-02T00:00:00.000Z: aos answer r1 call_00000001_0_0.2 seat=…\n"
        "c/d asks: Which seat?\n"
        "  visit https://x.example/1\n"
        "  until 2030-01-02T00:00:00.000Z: aos answer r1 call_00000001_0_0.2\n"
    )
    main.then(Say(body={"items": [], "next": None}))
    assert aos(["questions", "--url", main.url]) == 0
    assert capsys.readouterr() == ("", "no tool asks anything\n")


def test_an_answer_is_sent_in_the_types_of_the_form(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(body={"items": [QUESTION], "next": None}), Say(body={"action": "accept"}))
    given = ["answer", "r1", "call_00000001_0_0.2", "seat=12", "window=true", "more=a=b"]
    assert aos([*given, "--url", main.url]) == 0
    assert capsys.readouterr().out == "answered: accept\n"
    assert main.seen[-1].body == {
        "action": "accept",
        "content": {"seat": "12", "window": True, "more": "a=b"},
    }


def test_an_answer_may_decline_or_be_refused(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(body={"action": "decline"}), refusal("already_answered", "answered before"))
    for code in (0, 1):
        command = ["answer", "r1", "call_00000001_0_0", "--decline", "--url", main.url]
        assert aos(command) == code
    assert main.seen[0].body == {"action": "decline"}
    assert capsys.readouterr().err == "already_answered: answered before\n"
    with pytest.raises(SystemExit):
        aos(["answer", "r1", "q", "seat"])
    assert "'seat' is not NAME=VALUE" in capsys.readouterr().err


def test_ask_says_what_a_tool_asks_and_how_to_answer(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = {**RUN, "status": "waiting_input"}
    main.then(Say(body=waits, status=202), Say(body={"items": [QUESTION], "next": None}))
    assert aos(["ask", "ceo", "Hi", "--url", main.url]) == 3
    assert capsys.readouterr() == (
        "",
        "a/b asks: Which seat?\n"
        "  seat: Seat (string)\n"
        "  window: window (boolean, may be left out)\n"
        "  size: size (S, L, may be left out)\n"
        "  until 2030-01-02T00:00:00.000Z: aos answer r1 call_00000001_0_0.2 seat=…\n"
        "then follow the run with: aos tail r1\n",
    )


def test_ask_says_which_call_waits_with_which_arguments_and_how_to_decide(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = {**RUN, "status": "waiting_approval"}
    main.then(Say(body={**RUN, "status": "queued"}, status=202), Say(body=waits))
    other = {**APPROVAL, "run_id": "r2"}
    main.then(Say(body={"items": [other, APPROVAL], "next": None}))
    assert aos(["ask", "ceo", "Hi", "--url", main.url]) == 3
    assert capsys.readouterr() == (
        "",
        "the agent ceo wants to call git/push\n"
        '  with {"branch": "main\\u001b[2J"}\n'
        "  until 2030-01-02T00:00:00.000Z: aos approve r1 call_00000001_0_0\n"
        "  or: aos deny r1 call_00000001_0_0 --reason …\n"
        "then follow the run with: aos tail r1\n",
    )
    assert main.seen[0].body["wait_seconds"] == 2


def test_ask_may_wait_while_a_person_decides(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(body={**RUN, "status": "waiting_approval"}, status=202), Say(body=RUN))
    assert aos(["ask", "ceo", "Hi", "--wait-for-people", "--url", main.url]) == 0
    assert capsys.readouterr().out == "Sell.\n"
    assert main.seen[0].body["wait_seconds"] == 100


@pytest.mark.parametrize(
    ("words", "sent", "says"),
    [
        (["approve", "r1", "c1"], {"decision": "approve", "reason": ""}, "approved"),
        (["deny", "r1", "c1", "--reason", "No."], {"decision": "deny", "reason": "No."}, "denied"),
    ],
)
def test_a_call_is_decided_once(
    words: list[str],
    sent: dict[str, str],
    says: str,
    main: StubMain,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main.then(Say(body={"run_id": "r1"}), refusal("already_decided", "decided before"))
    assert [aos([*words, "--url", main.url]) for _ in range(2)] == [0, 1]
    assert capsys.readouterr() == (
        f"{says}; follow the run with: aos tail r1\n",
        "already_decided: decided before\n",
    )
    assert (main.seen[0].path, main.seen[0].body) == ("/api/runs/r1/approvals/c1", sent)


def test_with_json_a_refusal_is_the_error_object_on_stderr(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(refusal("already_decided", "decided before"))
    assert aos(["approve", "r1", "c1", "--json", "--url", main.url]) == 1
    out, said = capsys.readouterr()
    assert (out, json.loads(said)["error"]["code"]) == ("", "already_decided")


def test_cancel_says_whether_the_run_had_ended(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    main.then(Say(body={**RUN, "status": "in_progress"}, status=202), Say(body=RUN, status=202))
    assert [aos(["cancel", "r1", "--url", main.url]) for _ in range(2)] == [0, 0]
    assert capsys.readouterr().out == "r1 will be cancelled\nr1 has ended: completed\n"
