"""Advances conversations in realm. Entry points: `Execution` handles commands, `Turns` asks the
model."""

from aos.services.execution.deletion import Deletions
from aos.services.execution.handler import Execution
from aos.services.execution.model_call import ModelIdentity
from aos.services.execution.tool_offers import ToolOffers
from aos.services.execution.turn_budget import TurnBudgets
from aos.services.execution.turn_stream import TurnStreams
from aos.services.execution.turns import TurnLimits, Turns

__all__ = [
    "Deletions",
    "Execution",
    "ModelIdentity",
    "ToolOffers",
    "TurnBudgets",
    "TurnLimits",
    "TurnStreams",
    "Turns",
]
