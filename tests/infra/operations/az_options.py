"""Records the options of each az command that the pages and scripts use.

`python -m tests.infra.operations.az_options` asks the real az on PATH (2 s a command) and writes
az_options.json, which the tests compare with. Run it when a page uses a new command.
"""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.infra.operations.commands import az_commands

FILE = Path(__file__).with_name("az_options.json")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[a-z])(?![\w-])")


def options_of(command: str) -> list[str] | None:
    """The options of a command, as its help lists them; None where there is no such command."""
    done = subprocess.run(
        ["az", *command.split(), "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0 or "\nCommand\n" not in done.stdout:
        return None
    lines = re.findall(r"^    (-.*?)(?: :|$)", done.stdout.split("\nExamples\n")[0], re.MULTILINE)
    return sorted({option for line in lines for option in _OPTION.findall(line)})


def main() -> None:
    """Ask az and write the file."""
    said = subprocess.run(["az", "version"], capture_output=True, text=True, timeout=60, check=True)
    commands = sorted(az_commands())
    with ThreadPoolExecutor(max_workers=2) as pool:
        options = dict(zip(commands, pool.map(options_of, commands), strict=True))
    unknown = [command for command, found in options.items() if found is None]
    if unknown:
        raise SystemExit(f"az has no command {', '.join(unknown)}")
    document = {"azure-cli": json.loads(said.stdout)["azure-cli"], "commands": options}
    FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
