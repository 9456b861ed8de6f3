"""How does realm advance a conversation? `Execution` handles commands, `Turns` asks the model."""

from aos.services.execution.handler import Execution
from aos.services.execution.model_spans import ModelIdentity
from aos.services.execution.offering import Offering
from aos.services.execution.turns import TurnLimits, Turns

__all__ = ["Execution", "ModelIdentity", "Offering", "TurnLimits", "Turns"]
