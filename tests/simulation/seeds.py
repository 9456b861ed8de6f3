"""What became of a seed?"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tests.simulation.scenario import Scenario, scenario
from tests.simulation.world import World

CHUNK = 100
LINES = int(os.environ.get("STORY_LINES", "250"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A seed's end: what did not hold, or None."""

    scenario: Scenario
    failure: str | None
    world: World


def simulate(seed: int) -> Outcome:
    """Run the world of a seed from its beginning to its end."""
    plan = scenario(seed)
    world = World(plan)
    return Outcome(scenario=plan, failure=world.run(), world=world)


def list_chunks(first: int, last: int) -> list[range]:
    """These seeds in chunks of a hundred, one for each test."""
    return [range(at, min(at + CHUNK, last + 1)) for at in range(first, last + 1, CHUNK)]


def told(outcome: Outcome, *, planted: str | None = None) -> str:
    """A failed seed as a story, with the command that tells it again."""
    assert outcome.failure is not None
    story, plan = outcome.world.story, outcome.scenario
    option = f" --planted {planted}" if planted else ""
    return "\n".join(
        [
            f"seed {plan.seed} ({plan.kind}) does not hold",
            story.tell(last=LINES),
            f"seed {plan.seed}: {story.short(outcome.failure)}",
            f"again: python -m tests.simulation --seeds 1 --from {plan.seed}{option}",
            "",
        ]
    )
