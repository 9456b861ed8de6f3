"""Repeats a failed call of az when waiting may help. Entry point: `ask_with_retries`."""

from __future__ import annotations

from collections.abc import Callable

from infra.orchestrator.azure_cli import Answer
from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.exit_codes import ENVIRONMENT, REFUSED, Halt
from infra.orchestrator.run_context import RunContext


def ask_with_retries(
    context: RunContext,
    ask: Callable[[], Answer],
    *,
    find_result: Callable[[], Answer | None] = lambda: None,
) -> Answer:
    """Call `ask` until it succeeds, with a longer wait after each failure.

    After each wait `find_result` is called first: the operation may have ended in Azure although
    the call failed. Its answer replaces the next call.

    Raises Halt: REFUSED at once for an error that waiting does not change, ENVIRONMENT after the
    last attempt.
    """
    answer = ask()
    for number in range(1, context.waits.attempts + 1):
        if answer.succeeded:
            return answer
        wait = _wait_or_halt(context, answer, number)
        context.console.warn(
            f"attempt {number} failed with an error that may pass; next attempt in {wait:.0f} s"
        )
        context.clock.sleep(wait)
        answer = find_result() or ask()
    raise AssertionError("the last attempt either answers or halts")


def _wait_or_halt(context: RunContext, answer: Answer, number: int) -> float:
    failure = classify_answer(answer)
    last = number == context.waits.attempts
    wait = 0.0 if last or not failure.environmental else context.waits.wait_after(number)
    context.journal.add(
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
            ENVIRONMENT,
            failure.reason,
            "look at https://azure.status.microsoft, then run deploy.py again",
        )
    context.console.write_items(failure.reason.splitlines()[:6])
    return wait
