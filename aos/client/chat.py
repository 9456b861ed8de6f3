"""Talks with an agent in a terminal. Entry point: `Chat.talk`.

The answer appears as the model writes it. Approvals and questions of tools are decided in place.
Ctrl-C while the agent works asks whether to cancel the run.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from aos.client.advice import advise
from aos.client.commands.people import describe_field, read_values
from aos.client.errors import AosClientError
from aos.client.event_stream import RUN_ENDS
from aos.client.http import AosClient
from aos.client.terminal import (
    Exit,
    clean,
    confirm,
    is_interactive,
    paint,
    say,
    say_error,
    say_json,
    shorten,
)
from aos.client.timeline import describe_data

SETTLED = frozenset(
    {"already_decided", "already_answered", "tool_call_not_found", "question_not_found"}
)
"""Codes of errors after which asking the person again changes nothing."""
MAX_TRIES = 3


class Chat:
    """One conversation with one agent."""

    def __init__(
        self,
        client: AosClient,
        *,
        agent_id: str,
        conversation_id: str,
        as_json: bool = False,
        ask: Callable[[str], str] = input,
    ) -> None:
        self._client = client
        self._agent_id = agent_id
        self._conversation_id = conversation_id
        self._as_json = as_json
        self._ask = ask
        self._screen = Screen()

    def talk(self) -> int:
        """Read messages and answer each until there are none; return the exit code."""
        if is_interactive():  # also where the shell that started it ignores Ctrl-C
            signal.signal(signal.SIGINT, signal.default_int_handler)
        while True:
            message = self._read_message()
            if message is None:
                return Exit.DONE
            if message.strip():
                code = self.send(message)
                if code != Exit.DONE and not is_interactive():
                    return code

    def send(self, message: str) -> int:
        """Send one message and show what happens until the run has ended."""
        run = self._client.start(
            self._agent_id, message, conversation_id=self._conversation_id, stream=True
        )
        run_id, after = str(run.get("run_id")), None
        while True:
            try:
                for event in self._client.events(run_id, after=after):
                    after = str(event.get("id"))
                    code = self._show(event)
                    if code is not None:
                        return code
                return Exit.DONE
            except KeyboardInterrupt:
                self._interrupt(run_id)

    def _read_message(self) -> str | None:
        if not is_interactive():
            return sys.stdin.readline() or None
        try:
            return self._ask("you> ")
        except EOFError:
            say("")
            return None

    def _interrupt(self, run_id: str) -> None:
        self._screen.end_line()
        if not is_interactive():
            raise KeyboardInterrupt
        if confirm("cancel the run?"):
            self._client.cancel(run_id)

    def _show(self, event: Mapping[str, Any]) -> int | None:
        """Show an event; return the exit code where nothing follows."""
        if self._as_json:
            say_json(event)
        else:
            self._screen.show(event)
        kind = event.get("type")
        if kind == "approval.requested":
            return self._decide(event)
        if kind == "input.requested":
            return self._answer(event)
        if kind in RUN_ENDS:
            return Exit.DONE if kind == "run.completed" else Exit.SAID_NO
        return None

    def _decide(self, event: Mapping[str, Any]) -> int | None:
        """Ask whether a tool call may be made. Where nobody can be asked, say how to decide."""
        run_id, call_id = str(event["run_id"]), str(event["data"]["tool_call_id"])
        if not is_interactive():
            say_error(f"decide with: aos approve {run_id} {call_id}")
            return Exit.WAITS
        said = self._read_line("allow it? [y]es, [n]o, [l]ater: ").strip().lower()
        if said in ("y", "yes"):
            self._settle(lambda: self._client.approve(run_id, call_id))
        elif said in ("n", "no"):
            reason = self._read_line("why? (the agent reads it) ")
            self._settle(lambda: self._client.deny(run_id, call_id, reason))
        else:
            say(f"the run waits; decide with: aos approve {run_id} {call_id}, or aos deny")
        return None

    def _answer(self, event: Mapping[str, Any]) -> int | None:
        """Ask for the fields of a tool's form. Where nobody can be asked, say how to answer."""
        run_id, data = str(event["run_id"]), event["data"]
        question_id = str(data["question_id"])
        if not is_interactive():
            say_error(f"answer with: aos answer {run_id} {question_id}")
            return Exit.WAITS
        if data.get("url"):
            say(f"  visit {clean(str(data['url']))}")
        for _ in range(MAX_TRIES):
            if self._answer_once(run_id, question_id, data.get("requested_schema") or {}):
                return None
        say(f"the run waits; answer with: aos answer {run_id} {question_id}")
        return None

    def _answer_once(self, run_id: str, question_id: str, schema: Mapping[str, Any]) -> bool:
        if self._read_line("answer it? [Y/n] ").strip().lower() in ("n", "no"):
            return self._settle(lambda: self._client.answer(run_id, question_id, action="decline"))
        content = self._fill_in(schema)
        return self._settle(lambda: self._client.answer(run_id, question_id, content))

    def _fill_in(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        fields = schema.get("properties") or {}
        required = schema.get("required") or ()
        given: list[tuple[str, str]] = []
        for name, field in fields.items():
            prompt = describe_field(name, field, is_required=name in required)
            text = self._read_line(f"  {prompt}: ")
            if text:
                given.append((name, text))
        return read_values(given, fields)

    def _settle(self, send: Callable[[], Any]) -> bool:
        """Send a decision or an answer; say why it was refused. Return whether it is settled."""
        try:
            send()
        except AosClientError as error:
            say_error(f"{error.error.get('code')}: {error}")
            return error.code in SETTLED
        return True

    def _read_line(self, prompt: str) -> str:
        try:
            return self._ask(prompt)
        except EOFError:
            return ""


class Screen:
    """Writes a run's events as a conversation."""

    def __init__(self) -> None:
        self._written = ""
        self._in_line = False

    def show(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        data = event.get("data") or {}
        kind = str(event.get("type"))
        if kind == "message.delta":
            self._write(str(data.get("text") or ""))
        elif kind == "attempt.started":
            self._begin_again(str(data.get("reason") or ""))
        elif kind == "message.completed":
            self._complete(str(data.get("content") or ""))
        elif kind == "tool.called":
            call = f"{data.get('name')} {shorten(str(data.get('arguments')))}"
            self._note(f"calls {call}")
        elif kind == "approval.requested":
            self.end_line()
            say(f"wants to call {clean(str(data.get('name')))}")
            say(f"  with {clean(str(data.get('arguments')))}")
        elif kind == "input.requested":
            self.end_line()
            say(f"{data.get('name')} asks: {clean(str(data.get('message')))}")
        elif kind in ("tool.completed", "run.retrying"):
            self._note(describe_data(event))
        elif kind in RUN_ENDS and kind != "run.completed":
            self.end_line()
            say_error(f"{kind.removeprefix('run.')} {describe_data(event)}".strip())
            advice = advise({**event, "error": data.get("error")})
            if advice:
                say_error(f"what to do: {advice}")

    def end_line(self) -> None:
        """Begin a new line if there is text in this one."""
        if self._in_line:
            say("")
        self._in_line = False

    def _write(self, text: str) -> None:
        shown = clean(text)
        sys.stdout.write(shown)
        sys.stdout.flush()
        self._written += text
        self._in_line = bool(self._written) and not shown.endswith("\n")

    def _begin_again(self, reason: str) -> None:
        if reason:
            self._note(f"the model is asked again: {shorten(reason)}")
        elif self._written:
            self._note("the answer was cut; the model is asked again")
        self._written = ""

    def _complete(self, content: str) -> None:
        """Write what of the message was not written while it came."""
        if content.startswith(self._written):
            self._write(content[len(self._written) :])
        else:
            self.end_line()
            self._written = ""
            self._write(content)
        self.end_line()
        self._written = ""

    def _note(self, text: str) -> None:
        self.end_line()
        say(paint(f"  {text}", "dim"))
