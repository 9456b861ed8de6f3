"""Writes the messages that the model is shown in a turn. Entry point: `build_chat`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aos.domain.cards.agent_card import AgentCard, build_system_prompt
from aos.domain.json_writer import write_json
from aos.domain.runs.attachments import choose_shown, show_parts
from aos.domain.runs.conversation import ActiveRun, Message
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.shortening import shorten_history
from aos.domain.runs.transcript import repair_history
from aos.domain.runs.window import select_window
from aos.domain.tools.offer import Offer, read_json_object
from aos.domain.tools.tool import MessageCall, clean_call_name
from aos.errors import ErrorInfo
from aos.ports.model import ChatMessage


def build_chat(
    history: Sequence[Message],
    active: ActiveRun,
    card: AgentCard,
    offer: Offer,
    withheld: tuple[str, ...],
    *,
    size: int | None,
) -> tuple[ChatMessage, ...]:
    """The system prompt, the window of the history, and the run's question.

    The question comes last in the first turn. Later it is in the history; where the window does
    not reach it, it follows the system prompt. `size` limits the characters of the history.
    """
    request = active.request
    recent = select_window(history, size=card.memory.window_messages, run_id=request.run_id)
    question = Message(
        sequence=0,  # it is only shown here
        role="user",
        content=request.message,
        run_id=request.run_id,
        created_at=active.started_at,
        parts=request.parts,
    )
    if not active.turns:
        recent = [*recent, question]
    elif not any(m.role == "user" and m.run_id == request.run_id for m in recent):
        recent = [question, *recent]
    if size is not None:
        recent = shorten_history(recent, run_id=request.run_id, size=size)
    notes = (
        f"The tools of MCP server {server_id!r} are not available now."
        for server_id in offer.unavailable
    )
    prompt = "\n\n".join((build_system_prompt(card), *notes))
    system = ChatMessage(role="system", content=prompt)
    shown = repair_history(recent, withheld=withheld)
    seen = choose_shown(shown, run_id=request.run_id)
    return (
        system,
        *(
            _chat_message(_instruct(message, request), run_id=request.run_id, seen=place in seen)
            for place, message in enumerate(shown)
        ),
    )


def _instruct(message: Message, request: AdmittedRequest) -> Message:
    """The message; the run's question with the instructions that its caller gave."""
    is_question = message.role == "user" and message.run_id == request.run_id
    if request.options is None or not is_question:
        return message
    return replace(message, content=request.options.instruct(message.content))


def _chat_message(message: Message, *, run_id: str, seen: bool) -> ChatMessage:
    text, attachments = show_parts(message, run_id=run_id, as_attachments=seen)
    return ChatMessage(
        role=message.role,
        content=text,
        attachments=attachments,
        tool_calls=tuple(_mend_call(call) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
        fields=message.fields,
    )


def _mend_call(call: MessageCall) -> MessageCall:
    """The call as endpoints accept it: they check the names and arguments of earlier calls too.

    Arguments that are not an object become `{}`. The call's result tells the model what was wrong.
    """
    arguments = read_json_object(call.arguments)
    is_object = arguments is not None and call.arguments.lstrip().startswith("{")
    written = call.arguments if is_object else write_json(arguments or {}, ensure_ascii=False)
    return replace(call, name=clean_call_name(call.name), arguments=written)


def describe_effects(error: ErrorInfo, messages: Sequence[ChatMessage]) -> ErrorInfo:
    """The error of a run without an answer, with the tools that it called before."""
    names: list[str] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        names = [*(call.name for call in message.tool_calls), *names]
    if not names:
        return error
    text = f"{error.message}. The run had called {', '.join(names)}: what these did stays done"
    return replace(error, message=text, details={**error.details, "called_tools": names})
