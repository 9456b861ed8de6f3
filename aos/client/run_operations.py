"""Says what a client asks of runs and conversations. Entry point: `RunOperations`."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from aos.client.event_stream import follow_events
from aos.client.files import attach_files
from aos.client.flows import Flow, Item, Json, Listing, Operation, Pause, Work
from aos.client.paths import make_agent_path, make_run_path, quote_part, strip_host
from aos.client.waits import CALL_SECONDS, RUN_SECONDS
from aos.client.wire import MAX_ITEMS, Answer, Call, Sender
from aos.domain.json_writer import write_json
from aos.domain.runs.run import RunStatus

SERVER_WAIT_SECONDS = 100
FIRST_POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 2.0
ENDED = frozenset(status.value for status in RunStatus if status.has_ended)
FOR_PEOPLE = frozenset({RunStatus.WAITING_APPROVAL.value, RunStatus.WAITING_INPUT.value})
"""The statuses of a run that waits for a person."""
PEOPLE_WAIT_SECONDS = 2
EVENTS_A_PAGE = 100


class RunOperations:
    """Asking agents, and reading and steering what comes of it."""

    _sender: Sender

    @Operation
    def ask(
        self,
        agent_id: str,
        message: str | list[Json],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
        timeout_seconds: float = RUN_SECONDS,
        files: Sequence[str | os.PathLike[str]] = (),
        stop_for_people: bool = False,
    ) -> Flow[Json]:
        """Ask an agent and wait for the end; return the run object, also of a failed run.

        `files` are paths of images and files to send with the message; raises ConfigurationError
        if one cannot be read. `key` is an idempotency key; the default is a new one. After
        `timeout_seconds` the run is returned in its current state; it continues, and `wait` can
        wait for its end. `stop_for_people`: it is returned too when it waits for a person.
        """
        end = time.monotonic() + timeout_seconds
        longest = PEOPLE_WAIT_SECONDS if stop_for_people else SERVER_WAIT_SECONDS
        wait_seconds = int(max(0, min(longest, timeout_seconds)))
        message = yield from _attach(message, files)
        request = _Request(agent_id, message, conversation_id, metadata, key)
        answer = yield from self._sender.send(request.make_call(wait_seconds=wait_seconds))
        stops = ENDED | FOR_PEOPLE if stop_for_people else ENDED
        if answer.body.get("status") in stops:
            return answer.body
        return (yield from self._follow(_read_location(answer), answer.body, end, stops=stops))

    @Listing
    def stream(
        self,
        agent_id: str,
        message: str | list[Json],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
        timeout_seconds: float = RUN_SECONDS,
        files: Sequence[str | os.PathLike[str]] = (),
    ) -> Flow[None]:
        """Ask an agent and follow the run's events, with the text while the model writes it.

        The texts of `message.delta` after the last `attempt.started` are the answer so far;
        `message.completed` has the whole. A stream that is cut goes on where it was: the request is
        sent again with the same idempotency key and, once an event came, with `Last-Event-ID`.
        Arguments as in `ask`. After `timeout_seconds` it stops; the run continues.
        """
        message = yield from _attach(message, files)
        request = _Request(agent_id, message, conversation_id, metadata, key)
        first = request.make_call(stream=True)

        def make_call(run_id: str | None) -> Call:
            if run_id is None:
                return first
            return Call(method="GET", path=f"{make_run_path(run_id)}/events")

        yield from follow_events(self._sender, make_call, timeout_seconds=timeout_seconds)

    @Operation
    def start(
        self,
        agent_id: str,
        message: str | list[Json],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
        files: Sequence[str | os.PathLike[str]] = (),
        stream: bool = False,
    ) -> Flow[Json]:
        """Ask an agent without waiting; return the accepted run object. `files` as in `ask`.

        `stream`: the run's `events` tell the answer while the model writes it.
        """
        message = yield from _attach(message, files)
        request = _Request(agent_id, message, conversation_id, metadata, key)
        return (yield from self._sender.ask(request.make_call(wait_seconds=0, stream=stream)))

    @Operation
    def wait(
        self, run_id: str, *, timeout_seconds: float = RUN_SECONDS, stop_for_people: bool = False
    ) -> Flow[Json]:
        """Return the run at its end, or in its current state after `timeout_seconds`.

        `stop_for_people`: it is returned too when it waits for a person.
        """
        stops = ENDED | FOR_PEOPLE if stop_for_people else ENDED
        end = time.monotonic() + timeout_seconds
        return self._follow(make_run_path(run_id), None, end, stops=stops)

    @Operation
    def get_run(self, run_id: str) -> Flow[Json]:
        """Return the run in its current state."""
        return self._sender.get(make_run_path(run_id))

    @Listing
    def events(
        self, run_id: str, *, after: str | None = None, timeout_seconds: float | None = None
    ) -> Flow[None]:
        """Follow a run's events to its end, as docs/contracts/run-events.md lists them.

        Events that were saved come first, then each as it happens. `after` is the id of the last
        event that you have. Connections that are cut are opened again; no event is missing and none
        comes twice. After `timeout_seconds` it stops, in the middle of the run.
        """
        call = Call(method="GET", path=f"{make_run_path(run_id)}/events")
        return follow_events(
            self._sender, lambda _: call, after=after, timeout_seconds=timeout_seconds
        )

    @Listing
    def past_events(self, run_id: str, *, after: str = "0") -> Flow[None]:
        """List the events that a run has told so far, without waiting for more."""
        query: str | None = f"?{urlencode({'after': after, 'limit': EVENTS_A_PAGE})}"
        while query is not None:
            page = yield from self._sender.get(f"{make_run_path(run_id)}/events{query}")
            for event in page["items"]:
                yield Item(event)
            following = page.get("next") if page["items"] else None
            query = f"?{urlsplit(following).query}" if following else None

    @Operation
    def cancel(self, run_id: str) -> Flow[Json]:
        """Request a run's cancellation. An ended run does not change."""
        return self._sender.ask(Call(method="POST", path=f"{make_run_path(run_id)}/cancel"))

    @Operation
    def replay(self, run_id: str) -> Flow[Json]:
        """Ask an ended run again as a new one; return the new run. A repeat finds the same one."""
        return self._sender.ask(Call(method="POST", path=f"{make_run_path(run_id)}/replay"))

    @Listing
    def runs(
        self,
        *,
        agent_id: str | None = None,
        status: str | None = None,
        since: str | None = None,
        limit: int = MAX_ITEMS,
    ) -> Flow[None]:
        """List runs, newest first, read page by page. `since` is an RFC 3339 time."""
        query = {"agent_id": agent_id, "status": status, "since": since}
        given = urlencode({name: value for name, value in query.items() if value})
        return self._sender.read_pages("/api/runs" + (f"?{given}" if given else ""), limit)

    @Listing
    def conversations(self, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List the caller's conversations, newest first."""
        return self._sender.read_pages("/api/conversations", limit)

    @Operation
    def conversation(self, conversation_id: str) -> Flow[Json]:
        """Return one conversation."""
        return self._sender.get(f"/api/conversations/{quote_part(conversation_id)}")

    @Listing
    def messages(self, conversation_id: str, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List a conversation's messages, read page by page."""
        return self._sender.read_pages(
            f"/api/conversations/{quote_part(conversation_id)}/messages", limit
        )

    @Operation
    def delete_conversation(self, conversation_id: str) -> Flow[Json]:
        """Delete a conversation with all that belongs to it; return it as it was."""
        path = f"/api/conversations/{quote_part(conversation_id)}"
        return self._sender.ask(Call(method="DELETE", path=path))

    def _follow(
        self, path: str, known: Json | None, end: float, *, stops: frozenset[str]
    ) -> Flow[Json]:
        """Read the run at `path` until its status is one of `stops` or the time is over."""
        pause = FIRST_POLL_SECONDS
        run = known if known is not None else (yield from self._sender.get(path))
        while run.get("status") not in stops:
            left = end - time.monotonic()
            if left <= 0:
                break
            yield Pause(min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
            run = yield from self._sender.get(path)
        return run


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for a run. Each call that it makes has the same idempotency key."""

    agent_id: str
    message: str | list[Json]
    conversation_id: str | None
    metadata: Mapping[str, Any] | None
    key: str | None

    def make_call(self, *, wait_seconds: int | None = None, stream: bool = False) -> Call:
        """Make the call. Without `wait_seconds` its answer is a stream."""
        body: Json = {"message": self.message}
        if wait_seconds is not None:
            body["wait_seconds"] = wait_seconds
        if stream:
            body["stream"] = True
        if self.conversation_id is not None:
            body["conversation_id"] = self.conversation_id
        if self.metadata:
            body["metadata"] = dict(self.metadata)
        return Call(
            method="POST",
            path=f"{make_agent_path(self.agent_id)}/run",
            body=write_json(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": self.key or str(uuid.uuid4()),
            },
            timeout_seconds=(wait_seconds or 0) + CALL_SECONDS,
        )


def _attach(
    message: str | list[Json], files: Sequence[str | os.PathLike[str]]
) -> Flow[str | list[Json]]:
    if not files:
        return message
    attached: list[Json] = yield Work(lambda: attach_files(message, files))
    return attached


def _read_location(answer: Answer) -> str:
    """Return the run's URL from a 202 answer."""
    named = answer.headers.get("location")
    return strip_host(named) if named else make_run_path(str(answer.body.get("run_id")))
