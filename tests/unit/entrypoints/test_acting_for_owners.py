"""A sender on the queue acts for an owner of HTTP only where the operator lists that owner."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.domain.bus_limits import MAX_PROPERTY_BYTES
from aos.entrypoints.bus.senders import Sender
from aos.errors import ConfigurationError
from aos.settings import Settings
from tests.unit.entrypoints.laptop_in_memory import DEVELOPMENT, InMemory, call

ASK = {"version": 1, "agent_id": "ceo", "message": "Go on.", "conversation_id": "board"}
FOR_LOCAL = {"aos_owner": "crm", "aos_on_behalf_of": "local"}
CARD = {"agent_id": "ceo", "purpose": "Answer."}


async def begin(listed: str | None) -> InMemory:
    """Two apps, and a conversation `board` that the caller over HTTP, `local`, has begun."""
    apps = InMemory(None if listed is None else {"AOS_QUEUE_MAY_ACT_FOR": listed})
    await apps.put(CARD)
    begun = await apps.ask({"message": "Hello", "conversation_id": "board", "wait_seconds": 0})
    assert begun.status == 202
    await apps.settle()
    return apps


def answers(apps: InMemory) -> list[dict[str, Any]]:
    return [json.loads(kept.body) for kept in apps.replies()]


async def test_a_listed_owners_conversation_goes_on_and_the_run_says_who_acted() -> None:
    apps = await begin("local")
    apps.send(ASK, properties=FOR_LOCAL)
    await apps.settle()
    (reply,) = answers(apps)
    assert (reply["type"], reply["conversation_id"]) == ("run.completed", "board")
    assert reply["sent_by"] == "queue:crm"
    stored = await apps.world.requests.find(reply["run_id"])
    assert stored is not None
    assert (stored.request.owner, stored.request.sent_by) == ("local", "queue:crm")
    assert (stored.request.as_admin, stored.request.door) == (False, "queue")
    (line,) = [line for line in apps.telemetry.lines if line["event"] == "acted_on_behalf"]
    assert {name: line[name] for name in ("type", "run_id", "owner", "sent_by")} == {
        "type": "run.request",
        "run_id": reply["run_id"],
        "owner": "local",
        "sent_by": "queue:crm",
    }


async def test_a_decision_says_who_acted_for_whom() -> None:
    caller = Sender(name="queue:crm", on_behalf_of="alice").caller
    assert (caller.owner, caller.signature) == ("alice", "queue:crm for alice")
    assert (caller.is_admin, caller.is_approver, caller.deciding_owner) == (False, False, "alice")
    assert Sender(name="queue:crm").caller.signature == "queue:crm"


async def test_a_run_that_nobody_acted_in_has_no_sender() -> None:
    apps = await begin("local")
    apps.send({**ASK, "conversation_id": None}, properties={"aos_owner": "crm"})
    await apps.settle()
    (reply,) = answers(apps)
    assert "sent_by" not in reply
    assert [line for line in apps.telemetry.lines if line["event"] == "acted_on_behalf"] == []


@pytest.mark.parametrize("listed", [None, "", "alice", "Local,alice"])
async def test_an_owner_that_is_not_listed_is_refused_and_nothing_is_stored(
    listed: str | None,
) -> None:
    apps = await begin(listed)
    apps.send(ASK, properties=FOR_LOCAL)
    await apps.settle()
    (reply,) = answers(apps)
    assert (reply["type"], reply["error"]["code"]) == ("run.refused", "forbidden")
    assert "AOS_QUEUE_MAY_ACT_FOR" in reply["error"]["message"]
    assert reply["error"]["details"]["field"] == "aos_on_behalf_of"
    assert await apps.world.requests.find(reply["run_id"]) is None
    assert [line for line in apps.telemetry.lines if line["event"] == "acted_on_behalf"] == []


async def test_a_star_lists_all_owners_of_http() -> None:
    apps = await begin("*")
    apps.send(ASK, properties={"aos_on_behalf_of": "local"})
    await apps.settle()
    (reply,) = answers(apps)
    assert (reply["type"], reply["sent_by"]) == ("run.completed", "queue:aos-requests")


@pytest.mark.parametrize(
    "owner",
    [
        "agent:ceo",
        "queue:sales",
        "key:abc",
        "",
        " ",
        "a b",
        "a\nb",
        "\ud800",
        "x" * 129,
        7,
        b"local",
    ],
)
async def test_owners_of_queues_and_agents_and_what_is_no_owner_cannot_be_named(
    owner: object,
) -> None:
    apps = await begin("*")
    apps.send({**ASK, "conversation_id": None}, properties={"aos_on_behalf_of": owner})
    await apps.settle()
    (reply,) = answers(apps)
    assert (reply["type"], reply["error"]["code"]) == ("run.refused", "invalid_request")


async def test_another_listed_owners_conversation_stays_closed() -> None:
    apps = await begin("*")
    apps.send(ASK, properties={"aos_on_behalf_of": "alice"})
    await apps.settle()
    (reply,) = answers(apps)
    assert (reply["type"], reply["error"]["code"]) == ("run.refused", "conversation_not_found")


async def test_keys_are_of_the_sender_and_the_owner_together() -> None:
    """Four messages with one id are four runs; each again is the same run."""
    apps = await begin("*")
    senders = [{}, {"aos_owner": "crm"}, {"aos_on_behalf_of": "local"}, FOR_LOCAL]
    for properties in senders * 2:
        apps.send({**ASK, "conversation_id": None}, message_id="m-7", properties=properties)
        await apps.settle()
    runs = [reply["run_id"] for reply in answers(apps)]
    assert len(set(runs)) == len(senders)


async def test_a_senders_name_that_looks_like_an_owner_shares_no_keys_with_it() -> None:
    apps = await begin("*")
    for properties in (
        {"aos_owner": "crm", "aos_on_behalf_of": "queue"},
        {"aos_owner": "queue:crm"},
    ):
        apps.send({**ASK, "conversation_id": None}, message_id="m-7", properties=properties)
        await apps.settle()
    first, second = [reply["run_id"] for reply in answers(apps)]
    assert first != second


async def test_a_service_cancels_for_an_owner_only_where_it_is_listed() -> None:
    for listed, code in (("", "forbidden"), ("local", None)):
        apps = await begin(listed)
        run = await apps.ask({"message": "Long.", "wait_seconds": 0})
        stop = {"type": "run.cancel", "run_id": run.body["run_id"]}
        apps.send(stop, message_id="m-2", properties=FOR_LOCAL)
        await apps.settle()
        assert [reply["error"]["code"] for reply in answers(apps)] == ([code] if code else [])
        path = {"run_id": run.body["run_id"]}
        now = await call(apps.main.runs.get, "GET", parts=path)
        acted = [line for line in apps.telemetry.lines if line["event"] == "acted_on_behalf"]
        assert [line["type"] for line in acted] == ([] if code else ["run.cancel"])
        assert now.body["run_id"] == run.body["run_id"]


async def test_a_copy_of_a_message_with_too_many_properties_still_acts_for_its_owner() -> None:
    apps = await begin("local")
    await call(apps.main.operations.pause, "POST", body={})
    room = MAX_PROPERTY_BYTES - sum(len(name) + len(text) for name, text in FOR_LOCAL.items())
    crowd = {"p": "x" * (room - 1), **FOR_LOCAL}  # full; a copy has two properties more
    apps.send(ASK, properties=crowd)
    await apps.settle()
    await call(apps.main.operations.resume, "POST", headers={"content-length": "0"})
    apps.clock.advance(60)
    await apps.settle()
    (reply,) = answers(apps)
    assert (reply["type"], reply.get("sent_by")) == ("run.completed", "queue:crm")


@pytest.mark.parametrize("listed", ["a b", "queue:sales", "agent:ceo", "key:abc", "**"])
def test_a_setting_that_lists_what_is_no_owner_stops_the_app(listed: str) -> None:
    with pytest.raises(ConfigurationError, match="AOS_QUEUE_MAY_ACT_FOR"):
        Settings.read({**DEVELOPMENT, "AOS_QUEUE_MAY_ACT_FOR": listed})
