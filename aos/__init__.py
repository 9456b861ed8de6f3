"""AOS: durable, purpose-driven AI agents on Azure Functions, from JSON files. Entry points:
`agents`, `client`, `bootstrap`.

`import aos` loads nothing else; each name loads when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aos.version import __version__

__all__ = ["AgentOperatingSystem", "LeadershipAgent", "PurposeDrivenAgent", "__version__"]

if TYPE_CHECKING:
    from aos.agents import AgentOperatingSystem, LeadershipAgent, PurposeDrivenAgent


def __getattr__(name: str) -> Any:
    """Load the classes for Python programs when they are first used (PEP 562)."""
    if name in __all__:
        from aos import agents

        return getattr(agents, name)
    raise AttributeError(f"module 'aos' has no attribute {name!r}")
