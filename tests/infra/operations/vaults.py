"""Stands in for Azure Key Vault: a script named az that stores secrets as files.

It answers `az keyvault secret list|show|set` in the form of az 2.91 and writes down every argument
that it was given. It proves what backup.py does, never what Key Vault does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

_SCRIPT = """#!{python}
import json, os, sys
from pathlib import Path
root = Path({root!r})
arguments = sys.argv[1:]
with (root / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
command = " ".join(arguments[:3])
options = {{}}
for word in arguments[3:]:
    if word.startswith("--") or word == "-o":
        name = word
        options[name] = []
    else:
        options[name].append(word)
def one(name):
    return options[name][0]
if command.startswith("deployment group list"):
    print((root / "deployments.json").read_text())
    sys.exit(0)
vault = root / one("--vault-name")
if not vault.is_dir():
    print("ERROR: (Forbidden) Caller is not authorized to perform action", file=sys.stderr)
    sys.exit(1)
if command == "keyvault secret list":
    found = [json.loads(path.read_text()) for path in sorted(vault.glob("*.json"))]
    print(json.dumps([{{k: v for k, v in item.items() if k != "value"}} for item in found]))
elif command == "keyvault secret show":
    print((vault / (one("--name") + ".json")).read_text())
elif command == "keyvault secret set":
    mode = oct(os.stat(one("--file")).st_mode & 0o777)
    assert mode == "0o600", mode
    tags = dict(tag.partition("=")[::2] for tag in options.get("--tags", []))
    item = {{
        "name": one("--name"),
        "id": "https://" + one("--vault-name") + ".vault.azure.net/secrets/" + one("--name"),
        "value": Path(one("--file")).read_bytes().decode(one("--encoding")),
        "contentType": options.get("--content-type", [None])[0],
        "tags": {{**tags, "file-encoding": one("--encoding")}},
        "managed": None,
        "attributes": {{
            "enabled": True,
            "expires": options.get("--expires", [None])[0],
            "notBefore": options.get("--not-before", [None])[0],
        }},
    }}
    (vault / (item["name"] + ".json")).write_text(json.dumps(item))
else:
    print("ERROR: the stand-in knows no " + command, file=sys.stderr)
    sys.exit(2)
"""


class StandInVaults:
    """The script, its vaults, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        """Make it in a folder; `bin` goes on PATH."""
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        script = self.bin / "az"
        script.write_text(_SCRIPT.format(python=sys.executable, root=str(folder)))
        script.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which `az` is this."""
        return {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def vault(self, name: str) -> None:
        """A vault that may be read and written."""
        (self.folder / name).mkdir()

    def put(self, vault: str, name: str, value: str, **facts: Any) -> None:
        """A secret that is there already."""
        attributes = {"enabled": True, "expires": None, "notBefore": None}
        attributes |= facts.pop("attributes", {})
        item = {
            "name": name,
            "id": f"https://{vault}.vault.azure.net/secrets/{name}",
            "value": value,
            "contentType": None,
            "tags": None,
            "managed": None,
            **facts,
            "attributes": attributes,
        }
        (self.folder / vault / f"{name}.json").write_text(json.dumps(item))

    def secrets(self, vault: str) -> dict[str, str]:
        """Names and values of a vault."""
        found = (json.loads(path.read_text()) for path in (self.folder / vault).glob("*.json"))
        return {item["name"]: item["value"] for item in found}

    def secret(self, vault: str, name: str) -> dict[str, Any]:
        """All that is kept of a secret."""
        found: dict[str, Any] = json.loads((self.folder / vault / f"{name}.json").read_text())
        return found

    def deployed(self, outputs: dict[str, object]) -> None:
        """What `az deployment group list` answers: one deployment with these outputs."""
        item = {
            "name": "aos",
            "properties": {
                "provisioningState": "Succeeded",
                "timestamp": "2026-02-13T10:00:00Z",
                "outputs": {name: {"type": "X", "value": value} for name, value in outputs.items()},
            },
        }
        (self.folder / "deployments.json").write_text(json.dumps([item]))

    def calls(self) -> list[list[str]]:
        """Every call's arguments."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
