"""Is a Config.json read as the emulator reads it, and is a wrong one refused in one line?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devhost.servicebus.config import parse_config, read_config
from devhost.servicebus.errors import ConfigError

ROOT = Path(__file__).parents[3]


def one_queue(**properties: Any) -> Any:
    queue = {"Name": "Q", "Properties": properties}
    return {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": [queue]}]}}


def test_the_list_of_the_products_entities_is_read() -> None:
    config = read_config(ROOT / "infra" / "servicebus.json")
    assert "aos-realm" in [q.name for q in config.queues if q.rules.requires_session]
    assert all(queue.rules.lock_ms == 60_000 for queue in config.queues)


def test_absent_values_have_the_emulators_defaults() -> None:
    (queue,) = parse_config(one_queue(ForwardTo="", LockDuration="")).queues
    assert queue.rules.lock_ms == 60_000
    assert queue.rules.max_delivery_count == 3
    assert queue.rules.intake.time_to_live_ms == 3_600_000
    assert queue.rules.intake.duplicate_window_ms is None


def test_durations_are_iso_8601() -> None:
    (queue,) = parse_config(
        one_queue(
            LockDuration="PT5S",
            DefaultMessageTimeToLive="P10675199DT2H48M5.4775807S",
            RequiresDuplicateDetection=True,
            DuplicateDetectionHistoryTimeWindow="P1DT1H1M1.5S",
        )
    ).queues
    assert queue.rules.lock_ms == 5_000
    assert queue.rules.intake.time_to_live_ms is None
    assert queue.rules.intake.duplicate_window_ms == 90_061_500


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ([], "the file"),
        ({"UserConfig": {"Namespaces": 5}}, "Namespaces"),
        (one_queue(LockDuration="1 minute"), "LockDuration '1 minute'"),
        (one_queue(LockDuration="P"), "LockDuration"),
        (one_queue(MaxDeliveryCount=0), "MaxDeliveryCount 0"),
        (one_queue(RequiresSession="yes"), "RequiresSession"),
        (one_queue(ForwardTo="other"), "ForwardTo 'other'"),
        ({"UserConfig": {"Namespaces": [{"Queues": [{"Name": ""}]}]}}, "name ''"),
        (
            {"UserConfig": {"Namespaces": [{"Queues": [{"Name": "a"}, {"Name": "A"}]}]}},
            "two entities are named 'a'",
        ),
    ],
)
def test_what_is_wrong_is_named(document: Any, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_config(document)


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"FilterType": "Sql", "SqlFilter": {"SqlExpression": "a ="}}, "rule 'r'.*character"),
        ({"FilterType": "Sql"}, "SqlFilter"),
        ({"FilterType": "Xml"}, "FilterType 'Xml'"),
        ({"FilterType": "Correlation", "CorrelationFilter": {"Nope": 1}}, "Nope"),
        (
            {"SqlFilter": {"SqlExpression": "1=1"}, "Action": {"SqlExpression": "SET a"}},
            "rule 'r'.*The action is wrong at character 5: = expected",
        ),
        ({"SqlFilter": {"SqlExpression": "1=1"}, "Action": {"SqlExpression": 5}}, "not a text"),
    ],
)
def test_wrong_rules_are_named(properties: Any, part: str) -> None:
    rules = [{"Name": "r", "Properties": properties}]
    topic = {"Name": "t", "Subscriptions": [{"Name": "s", "Rules": rules}]}
    with pytest.raises(ConfigError, match=part):
        parse_config({"UserConfig": {"Namespaces": [{"Topics": [topic]}]}})


def test_files_may_begin_with_a_mark_and_must_be_json(tmp_path: Path) -> None:
    path = tmp_path / "Config.json"
    path.write_text("\ufeff" + json.dumps(one_queue()), encoding="utf-8")
    assert [queue.name for queue in read_config(path).queues] == ["Q"]
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        read_config(path)
    with pytest.raises(ConfigError, match="No such file"):
        read_config(tmp_path / "none.json")
