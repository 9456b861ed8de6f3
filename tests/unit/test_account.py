"""The account of a turn: what is recorded of calls and messages, and how it is counted."""

import json
import re

import pytest

from benchmarks.account import (
    BEGIN,
    END,
    FIRST,
    LATER,
    PAGE,
    Line,
    Turn,
    count_round_trips,
    make_lines,
    replace_table,
)
from benchmarks.proxy import BUS
from benchmarks.recording import Call, RecordingProxy, describe_call, describe_table_call
from benchmarks.turn_reasons import REASONS, find_reason
from devhost.amqp.frames import encode_frame
from devhost.amqp.performatives import Attach, Source, Target, Transfer

RUN = "0b4d0c2e-5f0a-4a34-9a4e-3a1d4dd9a111"
DAY = "day:2026-01-01:03:abc"
KEYS = f"(PartitionKey='{RUN}',RowKey='run')"
BATCH = f"""--changeset
POST http://127.0.0.1:1/account/aosusage HTTP/1.1
Content-Type: application/json

{{"PartitionKey": "ceo", "RowKey": "seen:{RUN}"}}
--changeset
PATCH http://127.0.0.1:1/account/aosusage(PartitionKey='ceo',RowKey='{DAY}') HTTP/1.1

{{}}
--changeset
DELETE http://127.0.0.1:1/account/aosusage(PartitionKey='ceo',RowKey='seen:a') HTTP/1.1
--changeset--
""".replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("method", "resource", "said"),
    [
        ("GET", f"aosruns{KEYS}?$select=x", "read aosruns/request"),
        ("DELETE", "aospending(PartitionKey='03',RowKey='it''s')", "delete aospending/pending"),
        ("GET", "aospending()?$filter=next_check%20lt%20%271%27", "query aospending"),
        (
            "GET",
            "aosconversations()?$filter=RowKey%20ge%20%27msg%3A0000000000%27",
            "query aosconversations from msg:0000000000",
        ),
        ("PUT", "unknown(PartitionKey='a',RowKey='b')", "write unknown"),
    ],
)
def test_a_table_call_is_named_by_the_kind_of_its_row(
    method: str, resource: str, said: str
) -> None:
    assert describe_table_call(method, f"/account/{resource}", b"") == said


def test_an_insertion_is_named_by_its_body() -> None:
    body = json.dumps({"PartitionKey": RUN, "RowKey": "run", "text": '"RowKey": "x"'}).encode()
    assert describe_table_call("POST", "/account/aosruns", body) == "write aosruns/request"


def test_a_transaction_is_one_call_with_all_its_rows() -> None:
    said = describe_table_call("POST", "/account/$batch", BATCH)
    assert said == "write aosusage/seen, aosusage/day; delete aosusage/seen"


def test_a_blob_is_named_without_ids() -> None:
    said = describe_call("GET", f"/account/aos-data/payloads/{RUN}/{'a' * 64}", b"")
    assert said == "GET aos-data/payloads/<id>/<id>"


def test_a_message_ends_when_it_is_delivered() -> None:
    proxy = RecordingProxy({})
    sender, receiver = proxy.watch(BUS, 1), proxy.watch(BUS, 2)
    target = Target(address="amqps://127.0.0.1:5672/aos-realm")
    transfer = encode_frame(0, Transfer(handle=3, delivery_id=0), b'{"type": "StartRun"}')
    sender.read_request(
        encode_frame(0, Attach("in", 3, role=False, source=Source(), target=target)) + transfer
    )
    [call] = proxy.calls
    assert (call.what, call.client_port, call.ended) == ("send StartRun to aos-realm", 1, None)
    receiver.read_answer(
        encode_frame(0, Attach("out", 3, role=False, source=Source(address="aos-realm"))) + transfer
    )
    assert call.ended is not None
    assert call.ended >= call.began


def _call(what: str, began: float, ended: float | None, *, service: str = "table") -> Call:
    return Call(service=service, what=what, client_port=7, began=began, ended=ended)


TURN = Turn(
    began=100.0,
    answered=100.1,
    calls=[
        _call("write aosruns/request", 100.01, 100.02),
        _call("send StartRun to aos-realm", 100.02, 100.03, service=BUS),
        _call("read aosruns/request", 100.03, 100.05),
        _call("read aosconversations/head", 100.035, 100.045),
        _call("write aosconversations/head", 100.06, 100.07),
        _call("read aosusage/seen", 100.09, 100.11),
        _call("delete aospending/pending", 100.2, None),
    ],
)


def test_calls_at_the_same_time_are_one_round_trip_and_what_follows_the_answer_is_none() -> None:
    assert count_round_trips(TURN) == 3


def test_lines_say_when_each_call_is_and_leave_out_the_work_of_timers() -> None:
    timer = _call("query aosindex", 100.15, 100.16)
    turns = [TURN, Turn(began=200.0, answered=200.1, calls=[timer])]
    lines = make_lines(turns, {7: "main"}, {("main", "table query aosindex")})
    assert [(line.what, line.when) for line in lines] == [
        ("table write aosruns/request", "before"),
        ("bus send StartRun to aos-realm", "before"),
        ("table read aosruns/request", "before"),
        ("table read aosconversations/head", "before"),
        ("table write aosconversations/head", "before"),
        ("table read aosusage/seen", "beside"),
        ("table delete aospending/pending", "after"),
    ]
    assert {line.share for line in lines} == {0.5}


def test_the_page_of_costs_has_a_line_for_each_reason() -> None:
    page = PAGE.read_text("utf-8")
    table = page.split(BEGIN)[1].split(END)[0]
    rows = [re.split(r" *\| *", row)[1:-1] for row in table.strip().splitlines()[2:]]
    said = [(row[0], row[1].strip("`"), row[4], row[5]) for row in rows]
    assert said == [(it.app, it.what, it.why, it.instead) for it in REASONS]


def test_the_measured_times_are_written_into_the_page() -> None:
    line = Line(app="main", what=REASONS[1].what, share=1.0, began=3.4, ended=5.6, when="before")
    page = replace_table(f"Above.\n{BEGIN}\nold\n{END}\nBelow.", {FIRST: [], LATER: [line]})
    assert page.startswith(f"Above.\n{BEGIN}\n| app | call |")
    assert page.endswith(f"\n{END}\nBelow.")
    assert f"| main | `{line.what}` | - | before, 3 to 6 | " in page
    assert find_reason("main", "nothing") is None
