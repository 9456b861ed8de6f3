"""ARCHITECTURE and the code say the same about retries."""

from __future__ import annotations

import json
import re

from aos.domain.retries import GIVE_UP_AT_DELIVERY, RETRY_MINUTES
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")


def test_the_page_says_the_pauses_between_tries() -> None:
    said = re.findall(r"((?:\d+, )+\d+) min", PAGE)
    assert set(said) == {", ".join(map(str, RETRY_MINUTES))}


def test_the_page_says_when_a_handler_and_the_broker_give_up() -> None:
    said = re.search(r"from the (\d+)th delivery on .* is dead-lettered after (\d+)", PAGE)
    assert said is not None
    entities = json.loads((ROOT / "infra" / "servicebus.json").read_text("utf-8"))
    queues = entities["UserConfig"]["Namespaces"][0]["Queues"]
    counts = {queue["Properties"]["MaxDeliveryCount"] for queue in queues}
    assert (int(said[1]), {int(said[2])}) == (GIVE_UP_AT_DELIVERY, counts)
