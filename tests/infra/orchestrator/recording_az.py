"""The recording az: a script that records its arguments and prints prepared answers.

It is a bash script named az: it appends its arguments to a file and prints what a folder holds
for that command, on the stream and with the exit code that the real az 2.91 was seen to use.
It proves what the orchestrator does, never what Azure does.

The answers for `az deployment group create` are in answers/deployment-group-create/1.out, 1.err
and 1.code, 2.out ...; the last one is repeated. answers/functionapp-function-list@NAME goes
before it where `--name NAME` is given, and rest@LAST where LAST ends the path of `--uri`. `N.sh`
is sourced first: it may wait, or kill.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_SCRIPT = r"""#!/bin/bash
key=""; name=""; uri=""; words=1; previous=""
for argument in "$@"; do
  if [[ $argument == -* ]]; then words=0; fi
  if (( words )); then key="${key:+$key-}$argument"; fi
  if [[ $previous == --uri ]]; then uri="${argument%%\?*}"; fi
  if [[ $previous == --name || $previous == -n || $previous == --body ]]; then name="$argument"; fi
  previous="$argument"
done
{ printf '%s\x1f' "$@"; printf '\n'; } >> "$RECORDING_AZ/calls"
folder="$RECORDING_AZ/answers/$key"
if [[ $key == rest ]]; then name="${name##*\"name\": \"}"; name="${name%%\"*}"; fi
if [[ $key == rest && -z $name ]]; then name="${uri##*/}"; fi
if [[ -n $name && -d "$folder@$name" ]]; then folder="$folder@$name"; fi
if [[ ! -d $folder ]]; then
  echo "ERROR: the recording az has no answer for: $*" >&2; exit 99
fi
number=1
if [[ -f $folder/count ]]; then read -r number < "$folder/count"; fi
echo $(( number + 1 )) > "$folder/count"
while [[ ! -f $folder/$number.code && $number -gt 1 ]]; do number=$(( number - 1 )); done
if [[ -f $folder/$number.sh ]]; then source "$folder/$number.sh"; fi
while IFS= read -r line || [[ -n $line ]]; do printf '%s\n' "$line"; done < "$folder/$number.out"
while IFS= read -r line || [[ -n $line ]]; do printf '%s\n' "$line"; done <"$folder/$number.err" >&2
read -r code < "$folder/$number.code"
exit "$code"
"""


class RecordingAz:
    """The script, its answers, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        """Make it in a folder; its `bin` goes on PATH."""
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        script = self.bin / "az"
        script.write_text(_SCRIPT)
        script.chmod(0o755)

    def answers(
        self, command: str, out: Any = "", *, err: str = "", code: int = 0, script: str = ""
    ) -> None:
        """Answer a command so, whatever was set before. `out` that is no text is JSON."""
        place = self._place(command)
        for old in place.glob("*"):
            old.unlink()
        self.then(command, out, err=err, code=code, script=script)

    def then(
        self, command: str, out: Any = "", *, err: str = "", code: int = 0, script: str = ""
    ) -> None:
        """Answer its next call so, and the ones after it."""
        place = self._place(command)
        number = len(list(place.glob("*.code"))) + 1
        text = out if isinstance(out, str) else json.dumps(out)
        (place / f"{number}.out").write_text(text)
        (place / f"{number}.err").write_text(err)
        (place / f"{number}.code").write_text(f"{code}\n")
        if script:
            (place / f"{number}.sh").write_text(script)

    def calls(self, command: str = "") -> list[list[str]]:
        """The arguments of each call, in order; of one command if it is named."""
        path = self.folder / "calls"
        lines = path.read_text().split("\x1f\n") if path.exists() else []
        wanted = command.split()
        every = [line.split("\x1f") for line in lines if line]
        return [it for it in every if it[: len(wanted)] == wanted]

    def commands(self) -> list[str]:
        """The words of each call before its first flag, in order."""
        return [" ".join(_words(it)) for it in self.calls()]

    def _place(self, command: str) -> Path:
        place = self.folder / "answers" / command.replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        return place


def _words(arguments: list[str]) -> list[str]:
    until = next((i for i, it in enumerate(arguments) if it.startswith("-")), len(arguments))
    return arguments[:until]


def path_with(folder: Path) -> str:
    """PATH with a folder before everything else."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
