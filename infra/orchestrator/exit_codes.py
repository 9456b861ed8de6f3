"""Defines the exit codes and the exceptions that end a run. Entry points: `Halt`, `MEANINGS`."""

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
    DONE: "done (with --dry-run: planned); nothing to do",
    REFUSED: "lint, what-if or Azure refused; change something, a repeat fails again",
    USAGE: "arguments, files, tools, login, rights or names are wrong",
    UNCONFIRMED: "destructive changes, no terminal and no --yes; the plan is in the audit folder",
    CANCELLED: "you did not confirm; nothing was changed",
    ENVIRONMENT: "Azure or the network failed, also after retries; a repeat may work",
    UNHEALTHY: "deployed, but a resource or an app is not healthy",
    UNRECORDED: "the audit record could not be written",
    CRASHED: "a bug in deploy.py; the audit record holds the traceback",
    129: "the terminal was closed; Azure continues what it has begun",
    130: "interrupted by Ctrl-C; Azure continues what it has begun",
    143: "ended by SIGTERM; Azure continues what it has begun",
}


class Halt(Exception):
    """Ends a run with an exit code, a reason, and advice about what to do next."""

    def __init__(self, code: int, reason: str, advice: str = "") -> None:
        """`code` is one of the codes above; reason and advice are one sentence each."""
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.advice = advice


class Interrupted(BaseException):
    """A signal asked the run to end. It is a BaseException, so `except Exception` lets it pass."""

    def __init__(self, number: int) -> None:
        """`number` is the signal's number."""
        super().__init__(number)
        self.code = 128 + number


def format_exit_codes() -> str:
    """The exit codes as lines for --help."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
