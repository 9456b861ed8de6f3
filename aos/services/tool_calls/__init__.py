"""How are tools called, each call once as far as that can be, and kept in view?"""

from aos.services.tool_calls.calling import CallLimits, ToolCalls
from aos.services.tool_calls.exposing import ExposedTools
from aos.services.tool_calls.listing import ToolListing

__all__ = ["CallLimits", "ExposedTools", "ToolCalls", "ToolListing"]
