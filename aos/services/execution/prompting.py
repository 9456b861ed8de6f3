"""What does the model read in a turn?"""

from __future__ import annotations

from collections.abc import Sequence

from aos.domain.cards.agent_card import AgentCard, build_system_prompt
from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.conversation import Message
from aos.domain.runs.window import select_window
from aos.domain.tools.offer import Offer, json_object
from aos.domain.tools.tool import MessageCall
from aos.ports.model import ChatMessage


def chat_messages(
    history: Sequence[Message], active: ActiveRun, card: AgentCard, offer: Offer
) -> tuple[ChatMessage, ...]:
    """The card, what fits of the history, and the question: last in the first turn, and never
    lost in the later ones."""
    request = active.request
    seen = select_window(history, size=card.memory.window_messages, run_id=request.run_id)
    question = ChatMessage(role="user", content=request.message)
    prompt = "\n\n".join((build_system_prompt(card), *offer.unavailable))
    system = ChatMessage(role="system", content=prompt)
    shown = tuple(_chat(message) for message in seen)
    if not active.turns:
        return (system, *shown, question)
    if any(m.role == "user" and m.run_id == request.run_id for m in seen):
        return (system, *shown)
    return (system, question, *shown)


def _chat(message: Message) -> ChatMessage:
    return ChatMessage(
        role=message.role,
        content=message.content,
        tool_calls=tuple(_readable(call) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
    )


def _readable(call: MessageCall) -> MessageCall:
    """Endpoints parse the arguments of earlier calls: what is no JSON object is left out (the
    call's result says so)."""
    if call.arguments.strip() and json_object(call.arguments) is not None:
        return call
    return MessageCall(tool_call_id=call.tool_call_id, name=call.name, arguments="{}")
