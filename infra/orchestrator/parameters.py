"""Reads a parameter file in one of three formats. Entry point: `read_parameters`.

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

from infra.orchestrator.azure_cli import Az
from infra.orchestrator.bicep_lint import find_diagnostics
from infra.orchestrator.exit_codes import USAGE, Halt

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterValues:
    """The values of a parameter file."""

    values: Mapping[str, Any]
    secure: frozenset[str] = frozenset()
    """Names of secure parameters. Their values are not recorded."""
    dropped: tuple[str, ...] = ()
    """Names of parameters without a value, because Azure does not return it."""
    converted: str | None = None
    """The text of an ARM parameter file, when az cannot read the given file."""
    diagnostics: str = ""

    @property
    def recorded(self) -> dict[str, Any]:
        """The values that the audit record may contain."""
        return {name: it for name, it in self.values.items() if name not in self.secure}


def read_parameters(az: Az, path: Path, template: Path) -> ParameterValues:
    """Read a parameter file. Raises Halt (USAGE) with file and line."""
    if path.suffix == ".bicepparam":
        return _read_bicepparam(az, path)
    if path.suffix == ".json":
        return _read_json(path, _find_secure_names(az, template))
    raise Halt(USAGE, f"the parameter file {path} is not a .bicepparam or .json file")


def format_parameter_file(values: Mapping[str, Any]) -> str:
    """Format an ARM parameter file."""
    wrapped = {name: {"value": value} for name, value in values.items()}
    document = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": wrapped}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def normalize_region(location: object) -> str:
    """Convert a region's name to Azure's short form: eastus2 for East US 2."""
    return str(location).replace(" ", "").lower()


def _read_bicepparam(az: Az, path: Path) -> ParameterValues:
    answer = az.run("bicep", "build-params", "--file", str(path), "--stdout")
    if not answer.succeeded:
        errors = [it for it in find_diagnostics(answer.err) if it.level == "Error"]
        printed = "\n".join(map(str, errors)) or answer.err.strip() or "az printed nothing"
        raise Halt(USAGE, f"{path} is not valid\n{printed}", "correct the parameter file")
    built = answer.parse_json()
    try:
        parameters = json.loads(built["parametersJson"])["parameters"]
        template = json.loads(built.get("templateJson") or "{}")
    except (KeyError, TypeError, ValueError) as error:
        raise Halt(
            USAGE, f"{path}: az bicep build-params printed an unknown format", "az bicep upgrade"
        ) from error
    return ParameterValues(
        values={name: it["value"] for name, it in parameters.items() if "value" in it},
        secure=_select_secure(template),
        diagnostics=answer.err,
    )


def _find_secure_names(az: Az, template: Path) -> frozenset[str] | None:
    """Find the secure parameters of the template. None when it does not build."""
    answer = az.run("bicep", "build", "--file", str(template), "--stdout")
    try:
        return _select_secure(json.loads(answer.out)) if answer.succeeded else None
    except ValueError:
        return None


def _select_secure(template: Mapping[str, Any]) -> frozenset[str]:
    found = template.get("parameters", {}).items()
    return frozenset(name for name, it in found if _is_secure(it))


def _read_json(path: Path, secure: frozenset[str] | None) -> ParameterValues:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise Halt(USAGE, f"{path}:{error.lineno}: {error.msg}", "correct the file") from error
    except UnicodeDecodeError as error:
        raise Halt(USAGE, f"{path} is not UTF-8", "save it as UTF-8") from error
    if not isinstance(document, dict) or not document:
        raise Halt(USAGE, f"{path} has no parameters", "check the name of the deployment")
    entries = document.get("parameters", document)
    if not isinstance(entries, dict) or not all(isinstance(it, dict) for it in entries.values()):
        raise Halt(USAGE, f'{path}: a parameter has no {{"value": ...}}', "correct the file")
    values = {name: it["value"] for name, it in entries.items() if it.get("value") is not None}
    # The template does not build, and LINT will report why. Until then all values count as secret.
    hidden = frozenset(values) - {"environment", "location"} if secure is None else secure
    if "parameters" in document:
        return ParameterValues(values=values, secure=hidden)
    values = {name: it for name, it in values.items() if not _is_secure(entries[name])}
    return ParameterValues(
        values=values,
        secure=hidden,
        dropped=tuple(sorted(set(entries) - set(values))),
        converted=format_parameter_file(values),
    )


def _is_secure(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("type", "")).lower().startswith("secure")
