"""Whatever an MCP server does, it costs a bound and an answer that names it, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from aos.adapters.mcp.process import GUARD
from aos.adapters.mcp.servers import McpServers
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.server_card import McpServerCard
from aos.errors import ServerFailed, TransientError
from tests.contract.mcp import nasty_server
from tests.contract.mcp.kit import REPOSITORY, call, nasty, running, servers, until

PLANTED = "ghp_planted_0123456789"
REFERENCE = "@Microsoft.KeyVault(...)"


async def test_a_server_is_started_by_the_first_call_and_used_by_the_next() -> None:
    async with servers() as made:
        first = await call(made, nasty(), "pid")
        assert (first.outcome, await call(made, nasty(), "pid")) == ("ok", first)


async def test_fifty_calls_at_once_keep_their_results_apart() -> None:
    card = nasty(max_concurrent_calls=50)

    async def slept(number: int) -> str:
        async with made.hold(card, "d1") as line:
            arguments = {"seconds": 0.2 - number / 500, "text": str(number)}
            return (await line.call("sleep", arguments, timeout_seconds=20)).content

    async with servers() as made:
        results = await asyncio.gather(*map(slept, range(50)))
    assert results == [str(number) for number in range(50)]


async def test_no_more_calls_at_once_than_the_card_says() -> None:
    card = nasty(max_concurrent_calls=1)
    async with servers(place_seconds=0.2) as made, made.hold(card, "d1"):
        with pytest.raises(TransientError, match="'nasty'"):
            async with made.hold(card, "d1"):
                raise AssertionError("there was no place")


async def test_noise_on_stdout_is_passed_over() -> None:
    card = nasty("--at-start", "noise")
    async with servers() as made:
        assert (await call(made, card, "noise", lines=2_000)).content == "still here"
        assert (await call(made, card, "echo", text="hi")).content == "hi"


async def test_a_flood_on_stderr_is_read_and_not_kept() -> None:
    async with servers() as made:
        assert (await call(made, nasty(), "flood", lines=20_000)).content == "flooded"
        assert (await call(made, nasty(), "echo", text="hi")).content == "hi"


async def test_a_call_that_is_not_answered_ends_at_its_limit_and_the_server_goes_on() -> None:
    async with servers() as made:
        before = await call(made, nasty(), "pid")
        async with made.hold(nasty(), "d1") as line:
            slow = await line.call("sleep", {"seconds": 30}, timeout_seconds=0.3)
        assert slow.outcome == "outcome_unknown"
        assert slow.content == "the MCP server 'nasty' did not answer within 0.3 s"
        assert await call(made, nasty(), "pid") == before


async def test_a_server_that_answers_nothing_any_more_is_replaced() -> None:
    async with servers() as made:
        before = await call(made, nasty(), "pid")
        hung = await call(made, nasty(), "hang", seconds=0.3)
        assert hung.outcome == "outcome_unknown"
        after = await call(made, nasty(), "pid")
        assert after.outcome == "ok"
        assert after != before


async def test_a_server_that_dies_in_a_call_says_so_and_the_next_call_starts_another() -> None:
    async with servers() as made:
        assert (await call(made, nasty(), "echo", text="hi")).outcome == "ok"
        died = await call(made, nasty(), "crash")
        assert died.outcome == "outcome_unknown"
        assert died.content == "the MCP server 'nasty' ended while 'crash' was being called"
        assert (await call(made, nasty(), "echo", text="again")).content == "again"


async def test_a_server_that_ends_by_itself_is_told_of_with_its_last_words() -> None:
    told: list[tuple[str, str]] = []
    async with servers() as made:
        made.watch(lambda server, change, said: told.append((change, said)))
        await call(made, nasty(), "environ_error")
        pid = int((await call(made, nasty(), "pid")).content)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(told) == 2)
    assert told == [("started", ""), ("died", "it ended; last output: the token is")]


async def test_a_result_over_the_bound_is_an_error_and_the_others_go_on() -> None:
    async with servers() as made:
        huge = await call(made, nasty(), "huge", bytes=20_000_000, seconds=20.0)
        assert huge.outcome == "error"
        assert "'nasty'" in huge.content
        assert "16 MiB" in huge.content
        assert (await call(made, nasty(), "echo", text="hi")).content == "hi"


async def test_a_large_result_is_cut_for_the_model_with_a_note() -> None:
    async with servers() as made:
        large = await call(made, nasty(), "huge", bytes=1_000_000)
    assert len(large.content.encode()) <= 64 * 1024
    assert large.content.endswith("[cut: the whole result has 1,000,000 bytes]")


async def test_what_is_not_text_is_kept_as_parts_and_named_to_the_model() -> None:
    async with servers() as made:
        picture = await call(made, nasty(), "picture")
        vast = await call(made, nasty(), "picture", size=2_000_000)
        structured = await call(made, nasty(), "structured")
    assert picture.content == "look:\n[image: image/png, about 3 bytes]"
    assert picture.parts == ({"type": "image", "data": "QUJD", "mimeType": "image/png"},)
    assert vast.parts == ()
    assert "not kept" in vast.content
    assert json.loads(structured.content) == {"sum": 3}


async def test_a_number_that_json_does_not_know_becomes_a_text_in_a_result() -> None:
    async with servers() as made:
        infinite = await call(made, nasty(), "infinite")
    assert json.loads(infinite.content) == {"sum": "Infinity"}


async def test_an_error_of_the_tool_is_an_error_and_of_rubbish_nothing_is_known() -> None:
    async with servers() as made:
        failed = await call(made, nasty(), "fails")
        assert (failed.outcome, failed.content) == ("error", "no luck")
        rubbish = await call(made, nasty(), "rubbish")
        assert rubbish.outcome == "outcome_unknown"
        assert "'nasty' gave an answer that is not valid MCP" in rubbish.content


async def test_a_thousand_tools_are_listed_and_too_many_are_refused() -> None:
    async with servers() as made:
        tools = await made.list_tools(nasty("--tools", "1000"), "d1")
        assert len({tool.name for tool in tools}) == len(tools) >= 1000
        assert [t.annotations for t in tools if t.name == "echo"] == [{"readOnlyHint": True}]
        with pytest.raises(ServerFailed, match="'nasty' lists more than 2,000 tools"):
            await made.list_tools(nasty("--tools", "2500"), "d2")
        with pytest.raises(ServerFailed, match="more than 100 pages"):
            await made.list_tools(nasty("--tools", "500", "--page", "1"), "d3")


async def test_a_change_of_the_tools_is_told() -> None:
    told: list[tuple[str, str, str]] = []
    async with servers() as made:
        made.watch(lambda *change: told.append(change))
        before = await made.list_tools(nasty(), "d1")
        await call(made, nasty(), "grow")
        await until(lambda: ("nasty", "tools", "") in told)
        assert len(await made.list_tools(nasty(), "d1")) == len(before) + 1
    assert told[0] == ("nasty", "started", "")


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (nasty("--at-start", "crash"), "last output: cannot go on: no token"),
        (nasty("--at-start", "silence"), "did not answer within 1 s of its start"),
        (McpServerCard(server_id="nasty", command="nosuchprogram"), "No such file or directory"),
        (McpServerCard(server_id="nasty", command="bash"), "the command 'bash' is a shell"),
        (McpServerCard(server_id="nasty", command="ls"), "AOS_MCP_ALLOWED lists"),
        (McpServerCard(server_id="nasty", url="https://10.0.0.1/mcp"), "loopback, link-local"),
    ],
)
async def test_a_server_that_does_not_start_says_why(card: McpServerCard, says: str) -> None:
    told: list[tuple[str, str, str]] = []
    async with servers(start_seconds=1.0) as made:
        made.watch(lambda *change: told.append(change))
        with pytest.raises(ServerFailed, match="MCP server 'nasty'") as caught:
            await call(made, card, "echo")
        assert says in str(caught.value)
        assert told == [("nasty", "failed", str(caught.value))]
        began = time.monotonic()
        with pytest.raises(ServerFailed, match="'nasty'"):  # not started again at once
            await call(made, card, "echo")
        assert time.monotonic() - began < 0.5


async def test_an_idle_server_is_stopped_and_started_again_when_needed() -> None:
    told: list[str] = []
    card = nasty(idle_seconds=1)
    async with servers() as made:
        made.watch(lambda server, change, said: told.append(change))
        before = await call(made, card, "pid")
        await until(lambda: "stopped" in told)
        await until(lambda: not psutil.pid_exists(int(before.content)))
        assert (await call(made, card, "echo", text="hi")).content == "hi"


async def test_another_card_is_another_server_and_calls_under_way_end_on_the_old_one() -> None:
    async with servers() as made:
        async with made.hold(nasty(), "d1") as line:
            slow = asyncio.create_task(line.call("sleep", {"seconds": 0.5}, timeout_seconds=5))
            before = (await line.call("pid", {}, timeout_seconds=5)).content
            async with made.hold(nasty("--tools", "1"), "d2") as other:
                after = (await other.call("pid", {}, timeout_seconds=5)).content
            assert (await slow).content == "slept"
        assert before != after
        await until(lambda: not psutil.pid_exists(int(before)))
        await made.keep_only({"nasty": "d2"})
        assert psutil.pid_exists(int(after))
        await made.keep_only({})
        await until(lambda: not psutil.pid_exists(int(after)))


async def test_the_server_gets_the_cards_environment_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountKey=ours")
    async with servers(home=tmp_path / "home") as made:
        seen = json.loads((await call(made, nasty(env={"A": "b"}), "env")).content)
    seen.pop("LC_CTYPE", None)  # Python's own
    assert seen.keys() == {"PATH", "HOME", "TMPDIR", "LANG", "A"}
    assert (seen["A"], seen["HOME"]) == ("b", str(tmp_path / "home" / "aos-mcp" / "nasty"))


async def test_a_secret_reaches_its_server_and_is_hidden_in_all_that_it_says() -> None:
    card = nasty(env={"TOKEN": REFERENCE})
    secrets = MemorySecrets({"mcp-nasty-token": PLANTED})
    async with servers(secrets=secrets) as made:
        seen = await call(made, card, "environ_error")
        assert seen.content == "bad token ***"
        shown = await call(made, card, "env")
        assert json.loads(shown.content)["TOKEN"] == "***"
        pid = int((await call(made, card, "pid")).content)
        assert PLANTED in _environment(pid)
        for guard in running(GUARD.name):
            process = psutil.Process(guard)
            assert PLANTED not in " ".join(process.cmdline())
            assert PLANTED not in _environment(guard)
    crashing = nasty("--at-start", "crash", env={"TOKEN": REFERENCE})
    async with servers(secrets=secrets) as made:
        with pytest.raises(ServerFailed, match=r"cannot go on: \*\*\*"):
            await call(made, crashing, "echo")


async def test_no_form_of_a_secret_is_in_what_is_told_of_a_server_that_printed_it() -> None:
    secret, told = 'p@ss"w\\ord/0123456789', list[str]()
    card = nasty("--at-start", "leak", env={"TOKEN": REFERENCE, "PIN": REFERENCE})
    secrets = MemorySecrets({"mcp-nasty-token": secret, "mcp-nasty-pin": "42"})
    async with servers(secrets=secrets) as made:
        made.watch(lambda server, change, said: told.append(said))
        with pytest.raises(ServerFailed) as caught:
            await call(made, card, "echo")
        with pytest.raises(ServerFailed) as again:  # the failure is remembered for a while
            await call(made, card, "echo")
    assert told == [str(caught.value)] == [str(again.value)]
    assert "starting\nthe token is ***\n" in told[0]
    assert "(a line that contains a secret)" in told[0]
    for form in (*nasty_server.forms(secret), secret[:8], secret[-8:], "42"):
        assert form.removeprefix("the token is ") not in told[0], form
    for brief in (caught.value.brief, again.value.brief):
        assert brief == "the MCP server 'nasty' ended, or closed its output, before it had answered"


def _environment(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


async def test_a_rotated_secret_starts_the_server_anew() -> None:
    card = nasty(env={"TOKEN": REFERENCE})
    secrets = MemorySecrets({"mcp-nasty-token": PLANTED})
    async with servers(secrets=secrets, secrets_age_seconds=0.0) as made:
        before = await call(made, card, "pid")
        assert await call(made, card, "pid") == before
        secrets.values["mcp-nasty-token"] = "another-0123"
        after = await call(made, card, "pid")
        assert after != before
        secrets.values.clear()  # a vault that has lost it stops nothing that runs
        assert await call(made, card, "pid") == after


async def test_a_secret_that_is_missing_is_named() -> None:
    async with servers() as made:
        with pytest.raises(ServerFailed, match=r"'nasty'.*'mcp-nasty-token'"):
            await call(made, nasty(env={"TOKEN": REFERENCE}), "echo")


async def test_nothing_is_left_of_a_server_that_will_not_go() -> None:
    mark = f"--marks={os.getpid()}-stays"
    async with servers() as made:
        await call(made, nasty(mark, "--stay", "--child"), "echo")
        pids = running(mark)
        children = [c.pid for pid in pids for c in psutil.Process(pid).children(recursive=True)]
        assert any(psutil.Process(pid).name() == "sleep" for pid in children)
    assert running(mark) == []
    await until(lambda: not any(map(psutil.pid_exists, children)))


APP = """
import asyncio, sys
sys.path.insert(0, {repository!r})
from tests.contract.mcp import nasty_server
from tests.contract.mcp.kit import call, nasty, servers
async def main():
    async with servers() as made:
        await call(made, nasty({mark!r}, "--stay", "--child"), "echo")
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_left_when_the_app_is_killed(sign: signal.Signals) -> None:
    mark = f"--marks={os.getpid()}-killed-{sign.name}"
    app = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", APP.format(repository=str(REPOSITORY), mark=mark)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert app.stdout is not None
    assert await asyncio.wait_for(app.stdout.readline(), 30) == b"ready\n"
    below = [c.pid for c in psutil.Process(app.pid).children(recursive=True)]
    assert len(below) >= 3  # the guard, the server, its child
    app.send_signal(sign)
    await asyncio.wait_for(app.wait(), 10)
    await until(lambda: not any(map(psutil.pid_exists, below)), what="the end of its servers")


async def test_the_guard_killed_leaves_no_server() -> None:
    mark = f"--marks={os.getpid()}-guard"
    async with servers() as made:
        await call(made, nasty(mark), "echo")
        (pid,) = running(mark)
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(pid))
        assert (await call(made, nasty(mark), "echo", text="hi")).content == "hi"


async def test_thousands_of_calls_leave_the_memory_as_it_is() -> None:
    """A burst that grows is a leak only if each one does: the first makes room for many at once."""
    ours = psutil.Process()
    grown: list[int] = []

    async def calls(made: McpServers, count: int) -> None:
        for _ in range(count):
            assert (await call(made, nasty(), "echo", text="x" * 200)).outcome == "ok"

    async with servers() as made:
        await calls(made, 500)
        for _ in range(3):
            gc.collect()
            before = ours.memory_info().rss
            await asyncio.gather(*(calls(made, 66) for _ in range(15)))
            gc.collect()
            grown.append(ours.memory_info().rss - before)
    assert min(grown) < 1_000_000, grown
