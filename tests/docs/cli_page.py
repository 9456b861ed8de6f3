"""Writes docs/CLI.md from the parser of the `aos` command. Entry point: `cli_page`.

`python -m tests.docs.cli_page` writes the page. A test compares the page with the parser.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

from aos.client.cli import make_parser
from aos.client.terminal import EXIT_CODES
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "CLI.md"
HEAD = """\
# The command `aos`

`pip install aos` installs it, `make run` puts it into `.venv/bin`; it needs no other package.
`aos COMMAND --help` shows the same as this page, which
`.venv/bin/python -m tests.docs.cli_page` writes; a test compares it with the code.

- **Where.** `--url`, else the variable `AOS_URL`, else `http://127.0.0.1:7071`. The key is `--key`,
  else `AOS_KEY`. A key in a variable is in no list of processes.
- **For people.** stdout has what was asked for, stderr what is said about it. Colours and progress
  appear in a terminal only; `NO_COLOR=1` switches colours off.
- **For programs.** With `--json` stdout has JSON objects, one a line: the objects of the
  [HTTP API](contracts/http.md), a line for each item of a list and for each event. An error is
  `{"error": …}` on stderr ([Errors](contracts/errors.md)).
"""


def cli_page() -> str:
    """Build the text of the page."""
    codes = "\n".join(f"| {code.value} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts = [HEAD, f"## Exit codes\n| code | meaning |\n|---|---|\n{codes}\n"]
    parts += [_write_command(name, command) for name, command in list_commands()]
    return "\n".join(parts)


def list_commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The subcommands by name."""
    for action in _list_actions(make_parser()):
        if isinstance(action.choices, dict):
            yield from action.choices.items()


def _list_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments and options of a parser, as it gives them to the formatter of its help."""
    found: list[argparse.Action] = []

    class Recorder(argparse.HelpFormatter):
        def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
            found.extend(actions)

    parser.formatter_class = Recorder
    parser.format_help()
    return [action for action in found if "--help" not in action.option_strings]


def _write_command(name: str, command: argparse.ArgumentParser) -> str:
    rows = [
        f"| {_write_name(action)} | {_escape(str(action.help or ''))} |"
        for action in _list_actions(command)
    ]
    example = f"\n{command.epilog}\n" if command.epilog else ""
    if command.epilog and command.epilog.startswith("example: "):
        example = f"\n`{command.epilog.removeprefix('example: ')}`\n"
    table = "\n".join(["| | |", "|---|---|", *rows])
    return f"## aos {name}\n{command.description}\n{example}\n{table}\n"


def _write_name(action: argparse.Action) -> str:
    value = action.metavar or "|".join(action.choices or ()) or action.dest.upper()
    if not action.option_strings:
        many = " …" if action.nargs in ("+", "*") else ""
        name = f"{value}{many}"
        return f"`{_escape(f'[{name}]' if action.nargs in ('?', '*') else name)}`"
    takes = "" if action.nargs == 0 else f" {value}"
    return f"`{_escape(', '.join(action.option_strings) + takes)}`"


def _escape(text: str) -> str:
    return text.replace("%%", "%").replace("|", "\\|")


def main() -> int:
    """Write the page."""
    PAGE.write_text(cli_page(), "utf-8")
    sys.stdout.write("docs/CLI.md was written\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
