"""Calls AOS over HTTP from a Python program. Entry point: `AosClient`.

    client = AosClient(url="http://127.0.0.1:7071")
    run = client.run("ceo", "What should we do first?", conversation_id="board")
    print(run["output"])

Answers are the JSON objects of docs/contracts/http.md, as dicts. Every call has a time limit. A
call that fails with a transient error is repeated. A repeated run has the same idempotency key, so
it never runs twice.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from aos.client.address import find_address
from aos.client.event_stream import follow_events
from aos.client.files import attach_files
from aos.client.transport import RETRY_SECONDS, Answer, Call, Transport
from aos.client.waits import CALL_SECONDS, RUN_SECONDS
from aos.domain.json_writer import write_json
from aos.domain.runs.run import RunStatus

Json: TypeAlias = dict[str, Any]

SERVER_WAIT_SECONDS = 100
FIRST_POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 2.0
MAX_ITEMS = 100_000
PAGE_ITEMS = 100
ENDED = frozenset(status.value for status in RunStatus if status.has_ended)
FOR_PEOPLE = frozenset({RunStatus.WAITING_APPROVAL.value, RunStatus.WAITING_INPUT.value})
"""The statuses of a run that waits for a person."""
PEOPLE_WAIT_SECONDS = 2
EVENTS_A_PAGE = 100


class AosClient:
    """The main app's HTTP API.

    `url` and `key` default to `AOS_URL` and `AOS_KEY`, then to the laptop without a key. Several
    threads may use one client. Raises AosClientError with the error object of the answer, and
    AosUnreachable.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        retry_seconds: float = RETRY_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = find_address(url=url, key=key)
        self.url = address.url
        self._transport = Transport(address, retry_seconds=retry_seconds, sleep=sleep)
        self._sleep = sleep

    def run(
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
    ) -> Json:
        """Ask an agent and wait for the end; return the run object, also of a failed run.

        `files` are paths of images and files to send with the message; raises ConfigurationError
        if one cannot be read. `key` is an idempotency key; the default is a new one. After
        `timeout_seconds` the run is returned in its current state; it continues, and `wait` can
        wait for its end. `stop_for_people`: it is returned too when it waits for a person.
        """
        end = time.monotonic() + timeout_seconds
        longest = PEOPLE_WAIT_SECONDS if stop_for_people else SERVER_WAIT_SECONDS
        wait_seconds = max(0, min(longest, int(timeout_seconds)))
        message = attach_files(message, files)
        answer = self._start(agent_id, message, conversation_id, metadata, key, wait_seconds)
        stops = ENDED | FOR_PEOPLE if stop_for_people else ENDED
        if answer.body.get("status") in stops:
            return answer.body
        return self._follow(_read_location(answer), answer.body, end, stops=stops)

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
    ) -> Json:
        """Ask an agent without waiting; return the accepted run object. `files` as in `run`.

        `stream`: the run's `events` tell the answer while the model writes it.
        """
        message = attach_files(message, files)
        answer = self._start(agent_id, message, conversation_id, metadata, key, 0, stream=stream)
        return answer.body

    def wait(self, run_id: str, *, timeout_seconds: float = RUN_SECONDS) -> Json:
        """Return the run at its end, or in its current state after `timeout_seconds`."""
        return self._follow(_make_run_path(run_id), None, time.monotonic() + timeout_seconds)

    def get_run(self, run_id: str) -> Json:
        """Return the run in its current state."""
        return self._get(_make_run_path(run_id))

    def events(
        self, run_id: str, *, after: str | None = None, timeout_seconds: float | None = None
    ) -> Iterator[Json]:
        """Follow a run's events to its end, as docs/contracts/run-events.md lists them.

        Events that were saved come first, then each as it happens. `after` is the id of the last
        event that you have. Connections that are cut are opened again; no event is missing and none
        comes twice. After `timeout_seconds` it stops, in the middle of the run.
        """
        path = f"{_make_run_path(run_id)}/events"
        return follow_events(
            self._transport,
            path,
            after=after,
            timeout_seconds=timeout_seconds,
            sleep=self._sleep,
        )

    def past_events(self, run_id: str, *, after: str = "0") -> Iterator[Json]:
        """List the events that a run has told so far, without waiting for more."""
        query: str | None = f"?{urlencode({'after': after, 'limit': EVENTS_A_PAGE})}"
        while query is not None:
            page = self._get(f"{_make_run_path(run_id)}/events{query}")
            yield from page["items"]
            following = page.get("next") if page["items"] else None
            query = f"?{urlsplit(following).query}" if following else None

    def cancel(self, run_id: str) -> Json:
        """Request a run's cancellation. An ended run does not change."""
        return self._transport.send(
            Call(method="POST", path=f"{_make_run_path(run_id)}/cancel")
        ).body

    def delete_conversation(self, conversation_id: str) -> Json:
        """Delete a conversation with all that belongs to it; return it as it was."""
        path = f"/api/conversations/{_quote_part(conversation_id)}"
        return self._transport.send(Call(method="DELETE", path=path)).body

    def replay(self, run_id: str) -> Json:
        """Ask an ended run again as a new one; return the new run. A repeat finds the same one."""
        return self._transport.send(
            Call(method="POST", path=f"{_make_run_path(run_id)}/replay")
        ).body

    def dead_letters(self, *, entity: str | None = None, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List dead letters with the reason and what to do (admins only)."""
        query = f"?{urlencode({'entity': entity})}" if entity else ""
        return self._read_pages(f"/api/dead-letters{query}", limit)

    def usage(
        self,
        *,
        by: str = "agent",
        first_day: str | None = None,
        last_day: str | None = None,
        agent_id: str | None = None,
        owner: str | None = None,
    ) -> Json:
        """Return what ended runs used and what it cost, with the items of all pages.

        `by` is `agent`, `owner`, `day` or `model`. Days are in UTC, such as `2026-01-31`; the
        default is 30 days until today, the most are 92. Callers see their own usage, admins all.
        """
        wanted = {"by": by, "from": first_day, "to": last_day, "agent_id": agent_id, "owner": owner}
        given = urlencode({name: value for name, value in wanted.items() if value})
        report = self._get(f"/api/usage?{given}&limit={PAGE_ITEMS}")
        following = report.get("next")
        more = self._read_pages(_strip_host(following), MAX_ITEMS) if following else ()
        return {**report, "items": [*report.get("items", []), *more], "next": None}

    def runs(
        self,
        *,
        agent_id: str | None = None,
        status: str | None = None,
        since: str | None = None,
        limit: int = MAX_ITEMS,
    ) -> Iterator[Json]:
        """List runs, newest first, read page by page. `since` is an RFC 3339 time."""
        query = {"agent_id": agent_id, "status": status, "since": since}
        given = urlencode({name: value for name, value in query.items() if value})
        return self._read_pages("/api/runs" + (f"?{given}" if given else ""), limit)

    def conversations(self, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List the caller's conversations, newest first."""
        return self._read_pages("/api/conversations", limit)

    def conversation(self, conversation_id: str) -> Json:
        """Return one conversation."""
        return self._get(f"/api/conversations/{_quote_part(conversation_id)}")

    def messages(self, conversation_id: str, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List a conversation's messages, read page by page."""
        return self._read_pages(
            f"/api/conversations/{_quote_part(conversation_id)}/messages", limit
        )

    def agents(self, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List all agents with their state."""
        return self._read_pages("/api/agents", limit)

    def agent(self, agent_id: str) -> Json:
        """Return an agent: its state, its uploaded card, and its `source_etag`."""
        return self._get(_make_agent_path(agent_id))

    def put_agent(
        self,
        agent_id: str,
        card: Mapping[str, Any] | bytes,
        *,
        if_match: str | None = None,
        only_new: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """Upload a card and publish it (admins only); return its status.

        `if_match`: the `source_etag` that the stored card must have. `only_new`: no card may exist.
        Raises AosClientError `invalid_card` (its details hold the errors of the status file) or
        `precondition_failed`. With a condition, a call whose answer was lost is not repeated: read
        the card, then decide.
        """
        body = card if isinstance(card, bytes) else _encode_card(card)
        path = _make_agent_path(agent_id) + ("?dry_run=true" if dry_run else "")
        conditions = {"If-Match": if_match, "If-None-Match": "*" if only_new else None}
        return self._send_change("PUT", path, body, conditions)

    def agent_versions(self, agent_id: str) -> list[Json]:
        """List the versions that served under this id, newest first, with digests (admins only)."""
        return list(self._read_pages(f"{_make_agent_path(agent_id)}/versions", MAX_ITEMS))

    def rollback_agent(self, agent_id: str, digest: str, *, if_match: str | None = None) -> Json:
        """Upload an earlier version again (admins only); return the status."""
        body = write_json({"digest": digest}).encode()
        return self._send_change(
            "POST", f"{_make_agent_path(agent_id)}/rollback", body, {"If-Match": if_match}
        )

    def delete_agent(self, agent_id: str, *, if_match: str | None = None) -> None:
        """Delete an agent's card (admins only). Running runs finish; its versions stay."""
        self._send_change("DELETE", _make_agent_path(agent_id), None, {"If-Match": if_match})

    def mcp_servers(self, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List the cards of all MCP servers with their state."""
        return self._read_pages("/api/mcp-servers", limit)

    def mcp_server(self, server_id: str) -> Json:
        """Return an MCP server: its state, its uploaded card, and its `source_etag`."""
        return self._get(_make_server_path(server_id))

    def put_mcp_server(
        self,
        server_id: str,
        card: Mapping[str, Any] | bytes,
        *,
        if_match: str | None = None,
        only_new: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """Upload the card of an MCP server and publish it (admins only), as `put_agent` does."""
        body = card if isinstance(card, bytes) else _encode_card(card)
        path = _make_server_path(server_id) + ("?dry_run=true" if dry_run else "")
        conditions = {"If-Match": if_match, "If-None-Match": "*" if only_new else None}
        return self._send_change("PUT", path, body, conditions)

    def delete_mcp_server(self, server_id: str, *, if_match: str | None = None) -> None:
        """Delete the card of an MCP server (admins only); its versions stay."""
        self._send_change("DELETE", _make_server_path(server_id), None, {"If-Match": if_match})

    def tools(self, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List all MCP servers as last seen: state, error and tools."""
        return self._read_pages("/api/tools", limit)

    def approvals(self, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List the tool calls that wait for the caller's decision, oldest first."""
        return self._read_pages("/api/approvals", limit)

    def decide(
        self, run_id: str, tool_call_id: str, decision: Literal["approve", "deny"], reason: str = ""
    ) -> Json:
        """Decide about a tool call, once.

        Raises AosClientError `already_decided`. A call whose answer was lost is not repeated:
        `approvals` tells whether the tool call still waits.
        """
        call = Call(
            method="POST",
            path=f"{_make_run_path(run_id)}/approvals/{_quote_part(tool_call_id)}",
            body=write_json({"decision": decision, "reason": reason}).encode(),
            headers={"Content-Type": "application/json"},
            repeatable=False,
        )
        return self._transport.send(call).body

    def approve(self, run_id: str, tool_call_id: str) -> Json:
        """Let a tool call be made; see `decide`."""
        return self.decide(run_id, tool_call_id, "approve")

    def deny(self, run_id: str, tool_call_id: str, reason: str = "") -> Json:
        """Refuse a tool call; the model reads `reason`. See `decide`."""
        return self.decide(run_id, tool_call_id, "deny", reason)

    def pause(self, reason: str = "") -> Json:
        """Admit nothing new; what was admitted goes on. For admins."""
        body = write_json({"reason": reason}).encode()
        return self._transport.send(_make_switch_call("pause", body)).body

    def resume(self) -> Json:
        """End a pause. For admins."""
        return self._transport.send(_make_switch_call("resume", b"")).body

    def questions(self, *, limit: int = MAX_ITEMS) -> Iterator[Json]:
        """List the questions of tools that wait for the caller's answer, oldest first."""
        return self._read_pages("/api/questions", limit)

    def answer(
        self,
        run_id: str,
        question_id: str,
        content: Mapping[str, Any] | None = None,
        *,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Json:
        """Answer a tool's question, once; `content` is the form, filled in.

        Raises AosClientError `already_answered`, or `invalid_request` for content that does not fit
        the form. A call whose answer was lost is not repeated: `questions` tells whether the
        question still waits.
        """
        body = {"action": action} if content is None else {"action": action, "content": content}
        call = Call(
            method="POST",
            path=f"{_make_run_path(run_id)}/questions/{_quote_part(question_id)}",
            body=write_json(body).encode(),
            headers={"Content-Type": "application/json"},
            repeatable=False,
        )
        return self._transport.send(call).body

    def health(self) -> Json:
        """Return whether AOS and its dependencies work: `status` is `healthy`, or the checks give
        the reason."""
        accept = frozenset({200, 503})
        return self._transport.send(Call(method="GET", path="/api/health", accept=accept)).body

    def status(self) -> Json:
        """Return version and environment; admins get more."""
        return self._get("/api/status")

    def _start(
        self,
        agent_id: str,
        message: str | list[Json],
        conversation_id: str | None,
        metadata: Mapping[str, Any] | None,
        key: str | None,
        wait_seconds: int,
        *,
        stream: bool = False,
    ) -> Answer:
        body: Json = {"message": message, "wait_seconds": wait_seconds}
        if stream:
            body["stream"] = True
        if conversation_id is not None:
            body["conversation_id"] = conversation_id
        if metadata:
            body["metadata"] = dict(metadata)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key or str(uuid.uuid4()),
        }
        return self._transport.send(
            Call(
                method="POST",
                path=f"{_make_agent_path(agent_id)}/run",
                body=write_json(body).encode(),
                headers=headers,
                timeout_seconds=wait_seconds + CALL_SECONDS,
            )
        )

    def _follow(
        self, path: str, known: Json | None, end: float, *, stops: frozenset[str] = ENDED
    ) -> Json:
        """Read the run at `path` until its status is one of `stops` or the time is over."""
        pause, run = FIRST_POLL_SECONDS, known if known is not None else self._get(path)
        while run.get("status") not in stops:
            left = end - time.monotonic()
            if left <= 0:
                break
            self._sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
            run = self._get(path)
        return run

    def _send_change(
        self, method: str, path: str, body: bytes | None, conditions: Mapping[str, str | None]
    ) -> Json:
        given = {name: value for name, value in conditions.items() if value is not None}
        headers = given if body is None else {"Content-Type": "application/json", **given}
        call = Call(method=method, path=path, body=body, headers=headers, repeatable=not given)
        return self._transport.send(call).body

    def _get(self, path: str) -> Json:
        return self._transport.send(Call(method="GET", path=path)).body

    def _read_pages(self, path: str, limit: int) -> Iterator[Json]:
        next_path: str | None = path
        while next_path is not None and limit > 0:
            page = self._get(next_path)
            items = page.get("items", [])[:limit]
            yield from items
            limit -= len(items)
            following = page.get("next")
            next_path = _strip_host(following) if following else None


def _encode_card(card: Mapping[str, Any]) -> bytes:
    """Return the card as text. AOS itself refuses text that is not UTF-8."""
    text = write_json(card, indent=2, ensure_ascii=False)
    return text.encode(errors="surrogatepass") + b"\n"


def _quote_part(text: str) -> str:
    return quote(text, safe="")


def _make_switch_call(name: str, body: bytes) -> Call:
    headers = {"Content-Type": "application/json"} if body else {}
    return Call(method="POST", path=f"/api/ops/{name}", body=body, headers=headers)


def _make_agent_path(agent_id: str) -> str:
    return f"/api/agents/{_quote_part(agent_id)}"


def _make_server_path(server_id: str) -> str:
    return f"/api/mcp-servers/{_quote_part(server_id)}"


def _make_run_path(run_id: str) -> str:
    return f"/api/runs/{_quote_part(run_id)}"


def _read_location(answer: Answer) -> str:
    """Return the run's URL from a 202 answer."""
    named = answer.headers.get("location")
    return _strip_host(named) if named else _make_run_path(str(answer.body.get("run_id")))


def _strip_host(url: str) -> str:
    """Keep only path and query: behind a proxy the host may differ, and the key is for this host
    only."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
