"""Which values does a parameter file give, in whichever of its three forms?

- `x.bicepparam`, which Bicep compiles;
- `x.json`, an ARM parameter file;
- the `properties.parameters` of an earlier deployment, `{name: {type, value}}`, as
  `az deployment group show --query properties.parameters` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.az import Az
from orchestrator.diagnostics import found_in
from orchestrator.exits import USAGE, Halt

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a parameter file holds."""

    values: Mapping[str, Any]
    secure: frozenset[str] = frozenset()
    """Names whose values are written down nowhere."""
    dropped: tuple[str, ...] = ()
    """Names whose value Azure does not tell: the template's default applies."""
    converted: str | None = None
    """The text of an ARM parameter file, where az could not take the file as it is."""
    diagnostics: str = ""

    @property
    def recorded(self) -> dict[str, Any]:
        """The values that the audit record may hold."""
        return {name: it for name, it in self.values.items() if name not in self.secure}


def read(az: Az, path: Path, template: Path) -> Given:
    """Read a parameter file. Raises Halt (USAGE) that names file and line."""
    if path.suffix == ".bicepparam":
        return _bicepparam(az, path)
    if path.suffix == ".json":
        return _json(path, _secure_of(az, template))
    raise Halt(USAGE, f"{path}: neither .bicepparam nor .json")


def as_file(values: Mapping[str, Any]) -> str:
    """An ARM parameter file."""
    wrapped = {name: {"value": value} for name, value in values.items()}
    document = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": wrapped}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _bicepparam(az: Az, path: Path) -> Given:
    answer = az.ask("bicep", "build-params", "--file", str(path), "--stdout")
    if not answer.ok:
        errors = [it for it in found_in(answer.err) if it.level == "Error"]
        said = "\n".join(map(str, errors)) or answer.err.strip() or "az said nothing"
        raise Halt(USAGE, f"{path} is not valid\n{said}", "correct the parameter file")
    built = answer.value()
    try:
        parameters = json.loads(built["parametersJson"])["parameters"]
        template = json.loads(built.get("templateJson") or "{}")
    except (KeyError, TypeError, ValueError) as error:
        raise Halt(USAGE, f"{path}: az bicep build-params printed something else") from error
    return Given(
        values={name: it["value"] for name, it in parameters.items() if "value" in it},
        secure=_secure(template),
        diagnostics=answer.err,
    )


def _secure_of(az: Az, template: Path) -> frozenset[str] | None:
    """The names of the template's secure parameters; None when it does not build."""
    answer = az.ask("bicep", "build", "--file", str(template), "--stdout")
    try:
        return _secure(json.loads(answer.out)) if answer.ok else None
    except ValueError:
        return None


def _secure(template: Mapping[str, Any]) -> frozenset[str]:
    found = template.get("parameters", {}).items()
    return frozenset(name for name, it in found if _is_secure(it))


def _json(path: Path, secure: frozenset[str] | None) -> Given:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise Halt(USAGE, f"{path}:{error.lineno}: {error.msg}", "correct the file") from error
    except UnicodeDecodeError as error:
        raise Halt(USAGE, f"{path} is not UTF-8") from error
    if not isinstance(document, dict) or not document:
        raise Halt(USAGE, f"{path} holds no parameters", "was the deployment's name right?")
    entries = document.get("parameters", document)
    if not isinstance(entries, dict) or not all(isinstance(it, dict) for it in entries.values()):
        raise Halt(USAGE, f'{path}: each parameter is to be {{"value": ...}}')
    values = {name: it["value"] for name, it in entries.items() if it.get("value") is not None}
    # LINT will say what is wrong with a template that does not build; till then, all is secret.
    hidden = frozenset(values) - {"environment", "location"} if secure is None else secure
    if "parameters" in document:
        return Given(values=values, secure=hidden)
    values = {name: it for name, it in values.items() if not _is_secure(entries[name])}
    return Given(
        values=values,
        secure=hidden,
        dropped=tuple(sorted(set(entries) - set(values))),
        converted=as_file(values),
    )


def _is_secure(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("type", "")).lower().startswith("secure")
