"""The world that the entry points are tested in."""

from __future__ import annotations

import pytest

from tests.unit.entrypoints.laptop_in_memory import InMemory

CEO = {"agent_id": "ceo", "purpose": "Lead the company."}


@pytest.fixture
async def apps() -> InMemory:
    """Both apps, with the agent `ceo` live."""
    apps = InMemory()
    await apps.put(CEO)
    return apps
