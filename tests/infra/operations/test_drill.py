"""The drill of the disaster recovery runbook: a region is lost and comes back in another."""

from __future__ import annotations

from tests.infra.operations.measuring import measured


def test_a_region_that_is_lost_comes_back_in_another_with_what_was_saved() -> None:
    report = measured("infra/drill.py", "--runs", "3")
    assert report["passed"] is True
    assert (report["runs_found"], report["runs_before_backup"]) == (3, 3)
    assert report["messages_found"] == 4
    assert report["waiting_run"] == "completed"
    assert 0 < report["restore"] < report["rto"]
    assert report["rpo"] > 0
