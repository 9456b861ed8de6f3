"""How does a deployment end, and what does each exit code mean?"""

from __future__ import annotations

DONE = 0
REFUSED = 1
USAGE = 2
UNCONFIRMED = 3
CANCELLED = 4
ENVIRONMENT = 5
UNHEALTHY = 6
UNRECORDED = 7
CRASHED = 70

MEANINGS = {
    DONE: "done (or, with --dry-run, planned); nothing needs you",
    REFUSED: "lint, what-if or Azure said no: change something, the same again fails again",
    USAGE: "arguments, files, tools, login, rights or names are not as they must be",
    UNCONFIRMED: "destructive changes, no terminal and no --yes; the plan is in the audit folder",
    CANCELLED: "you did not say yes; nothing was changed",
    ENVIRONMENT: "Azure or the network failed, also after retries: the same again may work",
    UNHEALTHY: "deployed, but a resource or an app is not healthy",
    UNRECORDED: "the audit record could not be written",
    CRASHED: "a fault in the orchestrator itself; the audit record holds the traceback",
    129: "its terminal was closed; what Azure had begun goes on",
    130: "interrupted by Ctrl-C; what Azure had begun goes on",
    143: "ended by SIGTERM; what Azure had begun goes on",
}


class Halt(Exception):
    """An end before the end: its exit code, the reason, and what to do next."""

    def __init__(self, code: int, reason: str, advice: str = "") -> None:
        """Take one of the codes above and one sentence each."""
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.advice = advice


class Interrupted(BaseException):
    """A signal asked for an end. No handler of errors may take it for one."""

    def __init__(self, number: int) -> None:
        """Take the number of the signal."""
        super().__init__(number)
        self.code = 128 + number


def table() -> str:
    """The exit codes as lines for --help."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
