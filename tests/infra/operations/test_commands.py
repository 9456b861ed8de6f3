"""The commands in runbooks, pipelines and scripts: every program, command and option exists.

For az this is held against what az 2.91 said of itself (az_options.json), for our own tools against
their argparse. Nothing is run against Azure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import pytest

from infra import drill
from infra.backups import cli as backup_cli
from infra.orchestrator import deploy_cli, health_cli
from infra.packages import cli as package_cli
from tests.infra.operations.az_options import FILE
from tests.infra.operations.commands import (
    PAGES,
    ROOT,
    Command,
    az_commands,
    commands,
    name_of,
    options_in,
)

AZ: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
COMMANDS = commands()
KNOWN = {
    *("az", "deploy.py", "health_check.py", "package.py", "backup.py", "drill.py", "publish.sh"),
    "aos",
    *("cd", "curl", "func", "git", "sqlite3", "export", "echo", "run", "npm", "pipx", "set"),
}
"""Programs of the pages and pipelines."""


def uses(program: str) -> list[Command]:
    return [command for command in COMMANDS if command.program == program]


def test_pages_and_pipelines_run_nothing_unknown() -> None:
    found = {
        (command.place, command.program)
        for command in COMMANDS
        if command.program not in KNOWN and not command.place.endswith(".sh")
    }
    assert {one for one in found if one[1] != "date"} == set()


def test_every_command_of_az_in_the_pages_exists() -> None:
    assert AZ["azure-cli"].startswith("2.")
    missing = sorted(set(az_commands()) - set(AZ["commands"]))
    assert missing == [], "run python -m tests.infra.operations.az_options with az on PATH"


@pytest.mark.parametrize("name", sorted(az_commands()))
def test_every_option_given_to_az_is_one_that_it_has(name: str) -> None:
    known = set(AZ["commands"].get(name, []))
    wrong = [
        (command.place, option)
        for command in az_commands()[name]
        for option in options_in(command)
        if option not in known
    ]
    assert wrong == []


def _deploy(arguments: list[str]) -> object:
    if arguments[0] in ("history", "rollback"):
        return _parsed_by_main(deploy_cli.main, arguments)
    return deploy_cli.make_deploy_parser().parse_args(arguments)


def _parsed_by_main(main: Callable[[list[str]], object], arguments: list[str]) -> Any:
    """Argparse ends with 2 before anything is done; `--help` at the end ends with 0 after it."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return None


def _health(arguments: list[str]) -> object:
    return health_cli.make_parser().parse_args(arguments)


def _backup(arguments: list[str]) -> object:
    return backup_cli.make_parser().parse_args(arguments)


def _package(arguments: list[str]) -> object:
    return package_cli.make_parser().parse_args(arguments)


def _drill(arguments: list[str]) -> object:
    return drill.make_parser().parse_args(arguments)


def _aos(arguments: list[str]) -> object:
    from aos.client import cli

    return cli.make_parser().parse_args(arguments)


def _publish(arguments: list[str]) -> None:
    """publish.sh takes a group and names of apps; test_publish.py runs it."""
    group, *apps = arguments
    assert re.fullmatch(r"[\w$-]+", group), arguments
    assert set(apps) <= {"main", "mcp", "realm"}, arguments


PARSERS: dict[str, Callable[[list[str]], object]] = {
    "deploy.py": _deploy,
    "health_check.py": _health,
    "backup.py": _backup,
    "package.py": _package,
    "drill.py": _drill,
    "aos": _aos,
    "publish.sh": _publish,
}


@pytest.mark.parametrize("program", PARSERS)
def test_our_own_tools_take_what_the_pages_and_pipelines_give_them(program: str) -> None:
    found = uses(program)
    assert found
    for command in found:
        arguments = [word for word in map(_expanded, command.arguments) if word]
        said = StringIO()
        try:
            with redirect_stderr(said):
                PARSERS[program](arguments)
        except SystemExit as ended:
            raise AssertionError(f"{command.place}: {command.words}: {said.getvalue()}") from ended


def _expanded(word: str) -> str:
    """A word as a shell or a pipeline hands it over; empty where nothing is handed over."""
    if word == "Confirmed" or word.startswith("${CONFIRMED:"):
        return ""
    if word in ("$ENVIRONMENT", "Environment"):
        return "dev"
    return "main" if word == "${apps[@]}" else word


def test_parameter_files_and_templates_that_the_pages_name_exist() -> None:
    for command in uses("deploy.py"):
        for word in command.arguments:
            if word.endswith((".bicep", ".bicepparam")) and "EXPRESSION" not in word:
                name = word.removeprefix("infra/").replace("Environment", "dev")
                name = name.replace("$ENVIRONMENT", "dev").replace("$dev", "dev")
                assert (ROOT / "infra" / name).exists(), (command.place, word)


def test_every_block_of_shell_in_these_pages_is_marked_as_checked() -> None:
    """Or as run, or as not run, which tests/docs looks at."""
    marks = ("<!-- checked: options -->", "<!-- run: ", "<!-- not run: ")
    unmarked = []
    for page in (page for page in PAGES if page.parent.name != "infra"):
        lines = page.read_text("utf-8").splitlines()
        unmarked += [
            f"{page.name}:{number + 1}"
            for number, line in enumerate(lines)
            if line in ("```bash", "```sh") and not lines[number - 1].startswith(marks)
        ]
    assert unmarked == []


def test_the_names_of_az_commands_are_read_as_az_reads_them() -> None:
    command = Command(place="", words=("az", "keyvault", "secret", "show", "--name", "x"))
    assert name_of(command) == "keyvault secret show"
