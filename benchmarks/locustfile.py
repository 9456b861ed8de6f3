"""How does main do under many callers at once? A load test for Locust.

pip install locust
AOS_KEY=<function key> locust -f benchmarks/locustfile.py --host https://<main's host>

`AOS_AGENT` names the agent that is asked (default `ceo`); `AOS_KEY` is left out where no key is
asked for. Every user holds a conversation of its own and waits for each answer; a run that does
not complete counts as a failure. Locust and the two dozen packages that it needs are not among
our requirements.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

from locust import HttpUser, between, task

AGENT = os.environ.get("AOS_AGENT") or "ceo"
KEY = os.environ.get("AOS_KEY")
ANSWER_SECONDS = 230
"""The platform ends a request after this time."""


class Caller(HttpUser):
    """A user who talks with the agent and sometimes reads earlier messages."""

    wait_time = between(0.5, 2)

    def on_start(self) -> None:
        """Choose a new conversation and set the key."""
        self.conversation_id = f"load-{uuid.uuid4().hex}"
        self.run_id: str | None = None
        self.headers = {"x-functions-key": KEY} if KEY else {}

    @task(10)
    def ask(self) -> None:
        """Ask and wait for the end of the run."""
        with self.client.post(
            f"/api/agents/{AGENT}/run",
            json={"message": "What matters most today?", "conversation_id": self.conversation_id},
            headers={**self.headers, "Idempotency-Key": uuid.uuid4().hex},
            timeout=ANSWER_SECONDS,
            catch_response=True,
        ) as response:
            problem = _problem(response)
            if problem is not None:
                response.failure(problem)
                return
            self.run_id = response.json()["run_id"]

    @task(2)
    def read_the_run(self) -> None:
        """Read the last run again."""
        if self.run_id is not None:
            self._get(f"/api/runs/{self.run_id}", name="/api/runs/[run_id]")

    @task(2)
    def read_the_conversation(self) -> None:
        """Read the messages of the conversation."""
        if self.run_id is not None:
            self._get(
                f"/api/conversations/{self.conversation_id}/messages",
                name="/api/conversations/[conversation_id]/messages",
            )

    @task(1)
    def see_the_status(self) -> None:
        """Read the status, which costs almost nothing, as a comparison."""
        self._get("/api/status", name="/api/status")

    def _get(self, path: str, *, name: str) -> None:
        self.client.get(path, name=name, headers=self.headers, timeout=ANSWER_SECONDS)


def _problem(response: Any) -> str | None:
    """Describe what is wrong with an answer, or return None for a completed run."""
    try:
        body = response.json()
    except ValueError:
        return f"{response.status_code}, not JSON"
    if response.status_code == 200 and body["status"] == "completed":
        return None
    code = (body.get("error") or {}).get("code")
    return " ".join(str(part) for part in (response.status_code, body.get("status"), code) if part)
