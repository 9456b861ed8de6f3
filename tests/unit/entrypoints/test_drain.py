"""A process that is told to stop hands back what it holds, so that another takes it at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from aos.domain.envelope import REALM_QUEUE
from aos.entrypoints.draining import Drain, HandedBack
from aos.ports.model import ModelAnswer, ModelCall
from aos.testing.triggers import make_trigger_message
from aos.wiring.every_app import App
from tests.unit.entrypoints.laptop_in_memory import InMemory

BOUND = 10.0


@pytest.fixture
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "_grace_seconds", 0.01)


class Held:
    """A model that does not answer until it is let go."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Wait to be let go."""
        self.asked.set()
        await self.answers.wait()
        raise AssertionError("nobody lets it go")


async def start_of_a_run(apps: InMemory) -> Any:
    """The StartRun of a run that was asked for, locked as the host locks it."""
    await apps.ask({"message": "Hi", "wait_seconds": 0})
    session = apps.broker.accept_session(REALM_QUEUE)
    assert session is not None
    return apps.broker.receive_in(session)


@pytest.mark.usefixtures("_no_grace")
async def test_realm_hands_back_a_run_that_waits_for_its_model(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    monkeypatch.setattr(apps.model, "complete", held.complete)
    kept = await start_of_a_run(apps)
    handling = asyncio.create_task(
        apps.realm.commands.handle(make_trigger_message(kept.build_received()))
    )
    async with asyncio.timeout(BOUND):
        await held.asked.wait()
        apps.realm.drain.begin()
        with pytest.raises(HandedBack) as raised:
            await handling
    assert raised.value.__notes__ == ["logged: message_handed_back"]
    assert apps.realm.drain.is_idle
    assert apps.telemetry.lines[-1]["event"] == "message_handed_back"


@pytest.mark.usefixtures("_no_grace")
async def test_a_message_that_comes_after_the_signal_is_not_cut_short(apps: InMemory) -> None:
    """Else a host that goes on to deliver would use up its deliveries within a moment."""
    apps.realm.drain.begin()
    kept = await start_of_a_run(apps)
    await apps.realm.commands.handle(make_trigger_message(kept.build_received()))
    assert len(apps.model.calls) == 1


async def test_a_request_that_waits_over_http_gets_202_at_once(apps: InMemory) -> None:
    asking = asyncio.create_task(apps.ask({"message": "Hi", "wait_seconds": 100}))
    async with asyncio.timeout(BOUND):
        while not apps.broker.messages(REALM_QUEUE):  # noqa: ASYNC110  the run is admitted
            await asyncio.sleep(0)
        for _ in range(20):  # the request begins to wait
            await asyncio.sleep(0)
        apps.main.drain.begin()
        answer = await asking
    assert answer.status == 202
    assert answer.headers["location"] == f"/api/runs/{answer.body['run_id']}"


async def test_short_work_is_done_within_its_grace() -> None:
    drain, done = Drain(), []

    async def work() -> None:
        async with drain.bound(grace_seconds=BOUND):
            drain.begin()
            await asyncio.sleep(0.01)
            done.append(1)

    await work()
    assert done == [1]


async def test_a_time_limit_of_the_work_itself_is_no_hand_back() -> None:
    drain = Drain()

    async def work() -> None:
        async with drain.bound(grace_seconds=BOUND), asyncio.timeout(0):
            await asyncio.sleep(BOUND)

    with pytest.raises(TimeoutError):
        await work()


APP = """
import asyncio, sys
from aos.bootstrap.stopping import drain_at_sigterm
from aos.entrypoints.draining import Drain, HandedBack

drain = Drain()
drain_at_sigterm(drain)

async def main():
    try:
        async with drain.bound(grace_seconds=0.1):
            print("waits", flush=True)
            await asyncio.sleep(60)
    except HandedBack:
        print("handed back", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_sigterm_ends_a_process_that_no_host_ends_after_it_has_handed_back() -> None:
    with subprocess.Popen([sys.executable, "-c", APP], stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        assert app.stdout.readline() == "waits\n"
        began = time.monotonic()
        os.kill(app.pid, signal.SIGTERM)
        assert app.stdout.readline() == "handed back\n"
        assert app.wait(BOUND) == 128 + signal.SIGTERM
        assert time.monotonic() - began < BOUND
