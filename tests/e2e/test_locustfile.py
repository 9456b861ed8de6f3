"""The load test's user does its tasks against a running laptop, with a stand-in for Locust."""

from __future__ import annotations

import importlib
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.e2e.road import Road

SECONDS = 30


class StandInResponse(requests.Response):
    """A response that its task may call a failure, as under Locust's `catch_response`."""

    problem: str | None = None

    def failure(self, problem: str) -> None:
        self.problem = problem


class StandInClient:
    """The client of Locust's HttpUser: paths on one host; it keeps what came of each request."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.answers: list[StandInResponse] = []

    def post(self, path: str, *, catch_response: bool, **given: Any) -> StandInResponse:
        assert catch_response
        return self._request("POST", path, **given)

    def get(self, path: str, *, name: str, **given: Any) -> StandInResponse:
        assert name.startswith("/api/")
        return self._request("GET", path, **given)

    def _request(self, method: str, path: str, *, timeout: int, **given: Any) -> StandInResponse:
        assert timeout > 0
        response = requests.request(method, self._host + path, timeout=SECONDS, **given)
        response.__class__ = StandInResponse
        assert isinstance(response, StandInResponse)
        self.answers.append(response)
        return response


class StandInHttpUser:
    """Locust's HttpUser, as far as the load test knows it."""

    def __init__(self, host: str) -> None:
        self.client = StandInClient(host)


def _task(weight: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def mark(method: Callable[..., None]) -> Callable[..., None]:
        method.locust_task_weight = weight  # type: ignore[attr-defined]  # as Locust does
        return method

    return mark


def load_test(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Any:
    """benchmarks/locustfile.py, imported with these settings and the stand-in."""
    stand_in = types.ModuleType("locust")
    vars(stand_in).update(
        HttpUser=StandInHttpUser, task=_task, between=lambda least, most: (least, most)
    )
    monkeypatch.setitem(sys.modules, "locust", stand_in)
    monkeypatch.delitem(sys.modules, "benchmarks.locustfile", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    module = importlib.import_module("benchmarks.locustfile")
    monkeypatch.delitem(sys.modules, "benchmarks.locustfile")
    return module


def tasks_of(user: Any) -> list[Callable[[], None]]:
    """The user's tasks, the most frequent first."""
    found = [getattr(user, name) for name in vars(type(user))]
    tasks = [method for method in found if hasattr(method, "locust_task_weight")]
    return sorted(tasks, key=lambda method: -method.locust_task_weight)


def test_each_task_of_the_load_test_is_served(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = road.live(f"load-{uuid.uuid4().hex[:8]}")
    user = load_test(monkeypatch, AOS_AGENT=agent, AOS_KEY="the-key").Caller(road.main)
    user.on_start()
    tasks = tasks_of(user)
    assert len(tasks) == 4
    for do in (*tasks, *tasks):
        do()
    answers = user.client.answers
    assert [(a.status_code, a.problem) for a in answers] == [(200, None)] * 8
    assert {a.request.headers["x-functions-key"] for a in answers} == {"the-key"}
    first, second = (a.json() for a in answers if a.request.method == "POST")
    assert first["conversation_id"] == second["conversation_id"]
    assert first["run_id"] != second["run_id"]


def test_what_does_not_complete_counts_as_a_failure_and_is_not_read(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = load_test(monkeypatch, AOS_AGENT="nobody", AOS_KEY="").Caller(road.main)
    user.on_start()
    for do in tasks_of(user):
        do()
    asked, status = user.client.answers
    assert asked.problem == "404 agent_not_found"
    assert status.url.endswith("/api/status")
    assert "x-functions-key" not in asked.request.headers
