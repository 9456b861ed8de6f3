"""The command `aos` against real apps: each command once, a chat in a terminal, cards promoted."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devhost.laptop import Laptop
from tests.contract.mcp.kit import ASKING, NASTY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say, ScriptedModel

pty = pytest.importorskip("pty", reason="a terminal is made with pty")

COMMAND = [sys.executable, "-m", "aos.client.cli"]
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Ctrl-C reaches the process whose terminal it is."""
SECONDS = 60.0


class Aos:
    """The command, run as a program."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *words: str, code: int = 0, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end with this exit code."""
        done = subprocess.run(
            [*COMMAND, *words],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done

    def json(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """Run it with --json; the objects of stdout."""
        lines = self.run(*words, "--json", code=code).stdout.splitlines()
        return [json.loads(line) for line in lines]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the command: its own, and none of AOS but the address."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AOS_")}
        return {**ours, "AOS_URL": self.url, "NO_COLOR": "1"}


class Terminal:
    """The command in a terminal in which somebody types."""

    def __init__(self, aos: Aos, *words: str) -> None:
        self._mine, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *COMMAND, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=aos.environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read until this text has come since the last one; AssertionError after a minute."""
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} is not in {self.shown!r}"
            if select.select([self._mine], [], [], 0.2)[0]:
                self.shown += os.read(self._mine, 65536).decode()
        self.shown = self.shown.partition(text)[2]

    def type(self, text: str) -> None:
        """Type this."""
        os.write(self._mine, text.encode())

    def end(self) -> int:
        """Wait for the end of the process; its exit code."""
        code = self.process.wait(timeout=SECONDS)
        os.close(self._mine)
        return code

    def give_up(self) -> None:
        """End the process if it goes on."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=SECONDS)


@pytest.fixture
def aos(road: Road) -> Aos:
    return Aos(road.main)


@pytest.fixture
def agent(road: Road) -> str:
    return road.live(f"a-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    return tmp_path / "marks"


@pytest.fixture
def marker(road: Road, marks: Path, model: Model) -> str:
    """An agent whose tool `mark` needs a person; the model calls it, then says what it said."""
    name = uuid.uuid4().hex[:8]
    road.live_server(f"s-{name}", command=sys.executable, args=[NASTY, "--marks", str(marks)])
    model.server.always(_use_the_tool("text"))
    grant = {"server": f"s-{name}", "tools": ["mark"], "approval": "always"}
    return road.live(f"a-{name}", mcp_tools=[grant])


def _use_the_tool(argument: str) -> Any:
    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"the tool said: {last['content']}")
        name = request.body["tools"][0]["function"]["name"]
        return Say(calls=[(name, {argument: last["content"]})])

    return rule


def test_a_run_is_asked_listed_shown_followed_replayed_and_deleted(
    aos: Aos, agent: str, model: Model
) -> None:
    model.says("Cash first.")
    conversation = f"c-{agent}"
    assert aos.run("ask", agent, "What?", "--conversation", conversation).stdout == "Cash first.\n"
    (run,) = aos.json("ask", agent, "And then?", "--conversation", conversation)
    run_id = run["run_id"]
    shown = aos.run("show", run_id).stdout
    assert "status        completed" in shown
    assert "message.completed   turn 1   Cash first. (scripted" in shown
    (both,) = aos.json("show", run_id)
    assert both["run"] == run
    assert aos.json("tail", run_id) == both["events"]
    assert aos.run("cancel", run_id).stdout == f"{run_id} has ended: completed\n"
    (again,) = aos.json("replay", run_id)
    assert aos.json("tail", again["run_id"])[-1]["type"] == "run.completed"

    def listed() -> bool:
        runs = aos.json("runs", "--agent", agent, "--since", "1h")
        return {item["run_id"] for item in runs} >= {run_id, again["run_id"]}

    eventually(listed, seconds=20, what="the list of runs")
    (gone,) = aos.json("delete", conversation)
    assert gone["conversation_id"] == conversation


def test_json_has_the_objects_of_the_api(aos: Aos, road: Road, agent: str, model: Model) -> None:
    import jsonschema_rs

    components = road.call("GET", "/api/openapi.json").body["components"]
    model.says("Yes.")
    (run,) = aos.json("ask", agent, "Is it?")
    (shown,) = aos.json("show", run["run_id"])
    for name, value in (
        ("Run", run),
        ("Run", shown["run"]),
        ("RunEventPage", {"items": shown["events"], "next": None}),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": components}
        found = [str(error) for error in jsonschema_rs.iter_errors(schema, value)]
        assert found == [], name


def test_tail_tells_the_runs_that_come(aos: Aos, agent: str, model: Model) -> None:
    model.says("Yes.")
    with subprocess.Popen(
        [*COMMAND, "tail", "--json", "--timeout", f"{SECONDS}"],
        env=aos.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as tail:
        assert tail.stdout is not None
        (run,) = aos.json("ask", agent, "Is it?")
        told = (json.loads(line) for line in tail.stdout)  # ends when the time of tail is over
        mine = (item["status"] for item in told if item["run_id"] == run["run_id"])
        assert "completed" in mine
        tail.terminate()


def test_exit_codes_tell_what_became_of_it(aos: Aos, agent: str, model: Model) -> None:
    with model.held():
        said = aos.run("ask", agent, "Wait", "--timeout", "0", code=4).stderr
        run_id = said.split()[2]
        assert aos.run("cancel", run_id).stdout == f"{run_id} will be cancelled\n"
        aos.run("tail", run_id, code=1)
    aos.run("ask", "nobody", "Hi", code=1)
    aos.run("ask", agent, code=2)
    assert "nothing answers at" in Aos("http://127.0.0.1:9").run("runs", code=2).stderr
    refused = aos.run("show", "no-run", "--json", code=1)
    assert json.loads(refused.stderr)["error"]["code"] == "run_not_found"


@pytest.mark.parametrize(
    ("words", "output"),
    [(["approve"], "marked"), (["deny", "--reason", "Not today."], "denied: Not today.")],
)
def test_ask_says_how_to_decide_and_that_is_how_it_is_decided(
    aos: Aos, marker: str, words: list[str], output: str
) -> None:
    asked = aos.run("ask", marker, "once", code=3)
    wants, arguments, how, *_ = asked.stderr.splitlines()
    assert (asked.stdout, wants) == ("", f"the agent {marker} wants to call s-{marker[2:]}/mark")
    assert arguments == '  with {"text": "once"}'
    _, _, ids = how.partition("aos approve ")
    assert ids in aos.run("approvals").stdout
    command, *rest = words
    assert aos.run(command, *ids.split(), *rest).stdout.startswith(("approved", "denied"))
    run_id = ids.split()[0]
    aos.run("tail", run_id)
    assert f"output\nthe tool said: {output}\n" in aos.run("show", run_id).stdout


def test_a_question_is_shown_by_ask_and_answered(
    aos: Aos, road: Road, model: Model, marks: Path
) -> None:
    name = uuid.uuid4().hex[:8]
    args = [ASKING, "newest", str(marks)]
    road.live_server(f"s-{name}", command=sys.executable, args=args)
    road.live(f"a-{name}", mcp_tools=[f"s-{name}/book"])
    model.server.always(_use_the_tool("flight"))
    said = aos.run("ask", f"a-{name}", "LH1", code=3).stderr
    assert "asks: Which seat?" in said
    ids = said.partition("aos answer ")[2].split()[:2]
    assert aos.run("answer", *ids, "seat=12A").stdout == "answered: accept\n"
    aos.run("tail", ids[0])
    assert marks.read_text() == "LH1 12A\n"


def test_a_chat_streams_decides_in_place_and_outlives_a_kill(
    aos: Aos, road: Road, marker: str, marks: Path, model: Model
) -> None:
    chat = Terminal(aos, "chat", marker)
    try:
        chat.wait_for("you> ")
        chat.type("once\n")
        chat.wait_for("wants to call")
        chat.wait_for('{"text": "once"}')
        chat.wait_for("allow it?")
        road.laptop.child("realm").kill9()
        chat.type("yes\n")
        chat.wait_for("the tool said: marked")
        chat.wait_for("you> ")
        assert marks.read_text() == "once\n"
        with model.held() as hold:
            chat.type("slow\n")
            hold.wait_for(1, seconds=SECONDS)
            road.laptop.child("main").kill9()
            road.laptop.child("realm").kill9()
        chat.wait_for("allow it?")
        chat.type("n\n")
        chat.wait_for("why?")
        chat.type("Not today.\n")
        chat.wait_for("the tool said: denied: Not today.")
        chat.wait_for("you> ")
        chat.type("\x04")
        assert chat.end() == 0
    finally:
        chat.give_up()


def test_ctrl_c_in_a_chat_cancels_the_run_after_a_question(
    aos: Aos, agent: str, model: Model
) -> None:
    chat = Terminal(aos, "chat", agent)
    try:
        chat.wait_for("you> ")
        with model.held() as hold:
            chat.type("slow\n")
            hold.wait_for(1, seconds=SECONDS)
            chat.type("\x03")
            chat.wait_for("cancel the run?")
            chat.type("y\n")
            chat.wait_for("cancelled")
        chat.wait_for("you> ")
        chat.type("\x04")
        assert chat.end() == 0
    finally:
        chat.give_up()


def test_a_chat_without_a_terminal_reads_lines(aos: Aos, agent: str, model: Model) -> None:
    model.answers_with(lambda messages: f"{len(messages)} so far")
    assert aos.run("chat", agent, text="one\ntwo\n").stdout == "2 so far\n4 so far\n"


def test_a_card_is_put_live_with_its_tools_or_refused_with_path_and_hint(
    aos: Aos, road: Road, tmp_path: Path
) -> None:
    name = uuid.uuid4().hex[:8]
    server = tmp_path / "server.json"
    server.write_text(
        json.dumps({"server_id": f"s-{name}", "command": sys.executable, "args": [NASTY]})
    )
    card = {"agent_id": f"a-{name}", "purpose": "Mark.", "mcp_tools": [f"s-{name}/mark"]}
    good, bad = tmp_path / f"a-{name}.json", tmp_path / "bad.json"
    good.write_text(json.dumps(card))
    bad.write_text(json.dumps({**card, "purpos": "x"}))
    said = aos.run("put", str(server), str(good)).stdout.splitlines()
    assert said[0] == f"{server}: live"
    assert said[1].startswith(f"  server s-{name}: ready: ")
    assert said[2:] == [f"{good}: live"]
    assert "error at purpos: " in aos.run("put", str(bad), code=1).stdout
    checked = aos.run("validate", str(good), "--url", aos.url)
    assert (checked.stdout, f"server s-{name}: ready" in checked.stderr) == (
        f"{good}: active\n",
        True,
    )
    good.write_text(json.dumps({**card, "mcp_tools": [f"s-{name}/nothing"]}))
    assert "nothing" in aos.run("validate", str(good), "--url", aos.url).stdout


def test_aos_is_paused_and_dead_letters_are_listed(aos: Aos) -> None:
    try:
        assert aos.json("pause", "--reason", "a test")[0]["paused"] is True
    finally:
        assert aos.json("resume")[0]["paused"] is False
    aos.run("dead-letters")
    aos.run("questions")


@pytest.fixture(scope="module")
def dev_and_prod(
    model_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Aos, Aos]]:
    """Two environments without a card."""
    laptops = [
        Laptop(
            root=tmp_path_factory.mktemp(name),
            model_endpoint=model_server.endpoint,
            apps=("main",),
            settings={"AOS_MCP_ALLOWED": "uvx ", "AOS_MODEL": "scripted"},
        )
        for name in ("dev", "prod")
    ]
    with laptops[0] as dev, laptops[1] as prod:
        yield Aos(dev.urls["main"]), Aos(prod.urls["main"])


def test_cards_are_promoted_from_dev_to_prod_by_a_folder(
    dev_and_prod: tuple[Aos, Aos], tmp_path: Path
) -> None:
    dev, prod = dev_and_prod
    cards = {
        "agents/ceo.json": {
            "agent_id": "ceo",
            "agent_type": "LeadershipAgent",
            "purpose": "Lead. Ü",
            "team": ["cfo"],
        },
        "agents/cfo.json": {"agent_id": "cfo", "purpose": "Count.", "mcp_tools": ["git/log"]},
        "mcp-servers/git.json": {"server_id": "git", "command": "uvx", "args": ["mcp-server-git"]},
    }
    source = tmp_path / "source"
    for name, card in cards.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(json.dumps(card))
    assert "nobody can be asked here" in dev.run("apply", str(source), code=2).stderr
    applied = dev.run("apply", str(source), "--yes").stdout.splitlines()
    assert [line for line in applied if not line.startswith(" ")] == [
        "+ mcp-servers/git.json: active",
        "+ agents/cfo.json: active",
        "+ agents/ceo.json: active",
    ]
    config = tmp_path / "config"
    dev.run("export", str(config))
    written = {path.relative_to(config).as_posix(): path.read_bytes() for path in files(config)}
    assert {name: json.loads(body) for name, body in written.items()} == cards
    dev.run("diff", str(config), "--delete")
    assert dev.run("apply", str(config), "--delete").stdout == ""  # nothing to ask about
    assert [change["action"] for change in prod.json("diff", str(config), code=1)] == ["create"] * 3
    prod.run("apply", str(config), "--yes")
    again = tmp_path / "again"
    prod.run("export", str(again))
    assert {path.relative_to(again).as_posix(): path.read_bytes() for path in files(again)} == (
        written
    )
    _change_one_and_remove_one(prod, config)


def _change_one_and_remove_one(prod: Aos, config: Path) -> None:
    ceo = config / "agents" / "ceo.json"
    cfo = (config / "agents" / "cfo.json").read_bytes()
    (config / "agents" / "cfo.json").unlink()
    ceo.write_text(json.dumps({"agent_id": "ceo", "purpose": "Lead well."}))
    assert '+  "purpose": "Lead well."' in prod.run("diff", str(config), code=1).stdout
    (config / "agents" / "new.json").write_text('{"agent_id": "new", "purpos": "x"}')
    broken = prod.run("apply", str(config), "--yes", code=1)
    assert "error at purpos: " in broken.stdout
    assert broken.stderr == "nothing was changed\n"
    (config / "agents" / "new.json").unlink()
    changed = prod.json("apply", str(config), "--yes", "--delete")
    assert [(change["action"], change["card"]) for change in changed] == [
        ("update", "agents/ceo.json"),
        ("delete", "agents/cfo.json"),
    ]
    prod.run("diff", str(config), "--delete")
    (config / "agents" / "cfo.json").write_bytes(cfo)
    assert prod.json("export", str(config), "--delete") == [
        {"action": "delete", "file": str(config / "agents" / "cfo.json")}
    ]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
