"""When is a failed call made again?"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.az import Answer
from orchestrator.exits import ENVIRONMENT, REFUSED, Halt
from orchestrator.failures import failure_of
from orchestrator.kit import Kit


def insist(
    kit: Kit, ask: Callable[[], Answer], *, seen: Callable[[], Answer | None] = lambda: None
) -> Answer:
    """Ask until az says that it worked, with a longer wait each time.

    `seen` is asked after each wait: its answer takes the place of the next call, for what we
    asked for may have ended without us. Raises Halt: REFUSED at once when waiting does not
    help, ENVIRONMENT after the last attempt.
    """
    answer = ask()
    for number in range(1, kit.patience.attempts + 1):
        if answer.ok:
            return answer
        wait = _wait_or_halt(kit, answer, number)
        kit.voice.warn(f"attempt {number} failed, Azure may recover; again in {wait:.0f} s")
        kit.clock.sleep(wait)
        answer = seen() or ask()
    raise AssertionError("the last attempt either answers or halts")


def _wait_or_halt(kit: Kit, answer: Answer, number: int) -> float:
    failure = failure_of(answer)
    last = number == kit.patience.attempts
    wait = 0.0 if last or not failure.environmental else kit.patience.wait_after(number)
    kit.journal.add(
        "attempts",
        {
            "command": answer.command,
            "number": number,
            "class": "environmental" if failure.environmental else "logic",
            "codes": list(failure.codes),
            "waited_seconds": wait,
        },
    )
    if not failure.environmental:
        raise Halt(REFUSED, failure.reason, failure.advice)
    if last:
        raise Halt(
            ENVIRONMENT, failure.reason, "run it again later: https://azure.status.microsoft"
        )
    kit.voice.items(failure.reason.splitlines()[:6])
    return wait
