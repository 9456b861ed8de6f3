"""Implements the `aos` command. Entry points: `main`, `make_parser`.

docs/CLI.md lists the commands, their options and the exit codes. With `--json` stdout has JSON
objects, one a line, and an error is a JSON object on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from aos.client.commands.asking import add_ask, add_chat
from aos.client.commands.cards import add_put, add_validate
from aos.client.commands.folders import add_apply, add_diff, add_export
from aos.client.commands.operations import add_dead_letters, add_delete, add_switch
from aos.client.commands.people import (
    add_answer,
    add_approvals,
    add_approve,
    add_deny,
    add_questions,
)
from aos.client.commands.runs import add_cancel, add_replay, add_runs, add_show, add_tail
from aos.client.commands.usage import add_usage
from aos.client.errors import AosClientError, AosUnreachable
from aos.client.terminal import EXIT_CODES, Exit, make_output_safe, say_error
from aos.domain.json_writer import write_json
from aos.errors import ConfigurationError
from aos.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = make_parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    make_output_safe()
    try:
        return command(options)
    except AosUnreachable as error:
        return _say_failure(error, options, Exit.CANNOT)
    except AosClientError as error:
        return _say_failure(error, options, Exit.SAID_NO)
    except ConfigurationError as error:
        say_error(str(error))
        return Exit.CANNOT
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # for example `aos runs | head`, where the reader closes the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


def _say_failure(error: AosClientError, options: argparse.Namespace, code: Exit) -> int:
    """Say what was refused: the API's error object with `--json`, else a line."""
    if options.json:
        say_error(write_json({"error": error.error}, ensure_ascii=False))
    elif isinstance(error, AosUnreachable):
        say_error(str(error))
    else:
        say_error(f"{error.error.get('code')}: {error}")
    return code


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    codes = "; ".join(f"{code.value} {meaning}" for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="aos",
        description="Talk with agents, follow their runs, decide what they ask, manage cards.",
        epilog=f"exit codes: {codes}. `aos COMMAND --help` shows a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"aos {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_ask(commands)
    add_chat(commands)
    add_runs(commands)
    add_show(commands)
    add_tail(commands)
    add_cancel(commands)
    add_replay(commands)
    add_approvals(commands)
    add_approve(commands)
    add_deny(commands)
    add_questions(commands)
    add_answer(commands)
    add_put(commands)
    add_validate(commands)
    add_apply(commands)
    add_diff(commands)
    add_export(commands)
    add_usage(commands)
    add_dead_letters(commands)
    add_delete(commands)
    add_switch(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
