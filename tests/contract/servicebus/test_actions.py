"""Does the unmodified SDK receive what actions of rules made of what it sent?"""

from __future__ import annotations

from typing import Any

from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode, ServiceBusSubQueue

from tests.contract.servicebus.conftest import SdkClient

WAIT = 10.0


def facts(message: Any) -> tuple[str, str | None, dict[bytes, Any]]:
    return str(message), message.subject, message.application_properties


def test_actions_change_their_own_copies(client: SdkClient) -> None:
    own: dict[str | bytes, Any] = {"quantity": 9, "priority": "high", "color": "red"}
    with client.get_topic_sender("acting") as sender:
        sender.send_messages(ServiceBusMessage("order", subject="new", application_properties=own))
    with client.get_subscription_receiver("acting", "s") as receiver:
        got: list[Any] = []
        while len(got) < 2:
            more = receiver.receive_messages(max_message_count=9, max_wait_time=WAIT)
            assert more
            for message in more:
                receiver.complete_message(message)
            got += more
        assert receiver.peek_messages() == []
    assert [facts(message) for message in got] == [
        ("order", "new", {b"quantity": 9, b"priority": b"high", b"color": b"red"}),
        ("order", "new-red", {b"quantity": 4, b"color": b"red", b"RuleName": b"halved"}),
    ]


def test_a_message_on_which_an_action_fails_is_a_dead_letter(client: SdkClient) -> None:
    own: dict[str | bytes, Any] = {"quantity": 99, "color": "red"}
    with client.get_topic_sender("failing") as sender:
        sender.send_messages(ServiceBusMessage("too many", application_properties=own))
    with client.get_subscription_receiver(
        "failing",
        "s",
        sub_queue=ServiceBusSubQueue.DEAD_LETTER,
        receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE,
    ) as receiver:
        (dead,) = receiver.receive_messages(max_wait_time=WAIT)
    assert (str(dead), dead.dead_letter_reason) == ("too many", "FilterEvaluationException")
    assert "'broken'" in dead.dead_letter_error_description
