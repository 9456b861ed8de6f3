"""Describes an agent as an A2A agent card. Entry point: `build_card`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from aos.domain.cards.agent_card import AgentCard
from aos.domain.vision import Vision
from aos.entrypoints.http.callers import AuthMode
from aos.entrypoints.message_parts import FileType, ImageType
from aos.ports.agents import LiveAgent

PROTOCOL_VERSION = "1.0"
CARD_PATH = ".well-known/agent-card.json"
TEXT, JSON = "text/plain", "application/json"
_PDF = "application/pdf"
_DIGITS = 12
_SCHEMES: dict[AuthMode, dict[str, dict[str, Any]]] = {
    "off": {},
    "keys": {
        "bearerKey": {"httpAuthSecurityScheme": {"scheme": "Bearer"}},
        "functionKey": {"apiKeySecurityScheme": {"location": "header", "name": "x-functions-key"}},
    },
    "easyauth": {"signIn": {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}}},
}
"""The security schemes by `AOS_AUTH`, of which a caller uses one."""
_HOW_TO_ANSWER = (
    "\n\nWhen a task is TASK_STATE_INPUT_REQUIRED, send a message with its taskId: the text approve"
    ' or deny, or a data part such as {"toolCallId": "…", "decision": "approve"} for a tool call,'
    ' and {"questionId": "…", "action": "accept", "content": {…}} for a question.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What agent cards say of this deployment."""

    public_url: str
    auth: AuthMode
    streams: bool
    pushes: bool
    vision: Vision


def build_card(agent: LiveAgent, facts: CardFacts) -> dict[str, Any]:
    """Return the card of an agent that serves."""
    card = agent.card
    url = f"{facts.public_url}/api/a2a/{card.agent_id}"
    modes = {
        "defaultInputModes": list_input_modes(card, facts.vision),
        "defaultOutputModes": list_output_modes(card),
    }
    skill = {
        "id": card.agent_id,
        "name": card.agent_id,
        "description": _join(card.purpose, card.purpose_scope),
        "tags": [card.agent_type, *(str(name) for name in card.labels)],
    }
    described: dict[str, Any] = {
        "name": card.agent_id,
        "description": card.purpose.strip() + _HOW_TO_ANSWER,
        "version": agent.digest[:_DIGITS],
        "supportedInterfaces": [
            {"url": url, "protocolBinding": binding, "protocolVersion": PROTOCOL_VERSION}
            for binding in ("JSONRPC", "HTTP+JSON")
        ],
        "capabilities": {
            "streaming": facts.streams,
            "pushNotifications": facts.pushes,
            "extendedAgentCard": False,
        },
        **modes,
        "skills": [skill],
    }
    schemes = _SCHEMES[facts.auth]
    if schemes:
        described["securitySchemes"] = schemes
        described["securityRequirements"] = [{"schemes": {name: {"list": []}}} for name in schemes]
    return described


def list_input_modes(card: AgentCard, vision: Vision) -> list[str]:
    """List the media types that the agent takes."""
    files = [kind for kind in get_args(FileType) if kind != _PDF]
    names = {card.adapter_name or card.model, card.model}
    if not any(vision.can_see(name) for name in names):
        return files
    return [*files, _PDF, *get_args(ImageType)]


def list_output_modes(card: AgentCard) -> list[str]:
    """List the media types that the agent answers with, the usual one first."""
    return [TEXT] if card.output_schema is None else [JSON, TEXT]


def _join(*texts: str) -> str:
    return "\n\n".join(text.strip() for text in texts if text.strip())
