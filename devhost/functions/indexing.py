"""Finds the functions of an app folder and checks that Azure would load them. Entry point:
`load_app`.

It imports `function_app.py` with its folder first on `sys.path`, finds the one FunctionApp in it
and turns each function into a LoadedFunction. Otherwise it raises HostError with one line.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func

from devhost.functions.errors import HostError, LoadError
from devhost.functions.settings import HostOptions, resolve_expressions
from devhost.functions.signatures import check_signature

SERVED_TRIGGERS = ("httpTrigger", "timerTrigger", "serviceBusTrigger", "queueTrigger")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,127}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFunction:
    """One function that can be called. `trigger` is its binding with settings resolved."""

    name: str
    call: Callable[..., Any]
    is_async: bool
    trigger: Mapping[str, Any]
    converter: str
    wants_context: bool
    has_return: bool
    directory: str
    disabled: bool

    @property
    def kind(self) -> str:
        """The trigger's type as in function.json, for example `httpTrigger`."""
        return str(self.trigger["type"])


def load_app(folder: Path, options: HostOptions) -> tuple[LoadedFunction, ...]:
    """Import and index the app in `folder`; return its functions sorted by name."""
    module = _import_app(folder)
    app = _find_app(module)
    try:
        functions = app.get_functions()
    except ValueError as error:
        raise HostError(f"{folder / 'function_app.py'}: {error}") from error
    if not functions:
        raise HostError(f"{folder / 'function_app.py'}: the FunctionApp has no functions")
    loaded = [_load(function, folder, options) for function in functions]
    seen: set[str] = set()
    for item in loaded:
        if item.name.lower() in seen:
            raise LoadError(
                item.name,
                "another function has the same name, if case is ignored",
                remedy="rename one, or give it @app.function_name",
            )
        seen.add(item.name.lower())
    return tuple(sorted(loaded, key=lambda item: item.name))


def _import_app(folder: Path) -> ModuleType:
    if not (folder / "function_app.py").exists():
        raise HostError(f"{folder} has no function_app.py; give the folder of a Functions app")
    sys.path.insert(0, str(folder))
    sys.modules.pop("function_app", None)
    importlib.invalidate_caches()
    try:
        return importlib.import_module("function_app")
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise HostError(
            f"function_app.py cannot be imported: {type(error).__name__}: {error} "
            f"({frame.filename}:{frame.lineno})"
        ) from error


def _find_app(module: ModuleType) -> Any:
    apps = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, func.decorators.function_app.FunctionRegister)
    }
    if not apps:
        raise HostError(
            "function_app.py has no FunctionApp at its top level; write app = func.FunctionApp()"
        )
    if len(apps) > 1:
        raise HostError(
            f"function_app.py has {len(apps)} function apps ({', '.join(sorted(apps))}); "
            "keep one, and put the others' functions into a func.Blueprint"
        )
    return next(iter(apps.values()))


def _load(function: Any, folder: Path, options: HostOptions) -> LoadedFunction:
    name = str(function.get_function_name())
    bindings = [json.loads(text) for text in function.get_raw_bindings()]
    trigger = check_trigger(name, bindings, options)
    user_function = function.get_user_function()
    signature = check_signature(name, user_function, bindings)
    return LoadedFunction(
        name=name,
        call=user_function,
        is_async=inspect.iscoroutinefunction(user_function),
        trigger=trigger,
        converter=signature.converter,
        wants_context=signature.wants_context,
        has_return=signature.has_return,
        directory=str(folder),
        disabled=is_disabled(name),
    )


def check_trigger(
    name: str, bindings: list[dict[str, Any]], options: HostOptions
) -> dict[str, Any]:
    """Return the function's trigger with its settings resolved. Raises LoadError."""
    if not _NAME.fullmatch(name) or name.lower() == "host":
        raise LoadError(
            name,
            "its name is not allowed",
            remedy="begin with a letter, then letters, digits, _ and -, and not 'host'",
        )
    trigger = _resolve(name, _find_trigger(bindings))
    _check_trigger(name, trigger, options)
    return trigger


def is_disabled(name: str) -> bool:
    """Whether a setting disables the function's trigger."""
    return os.environ.get(f"AzureWebJobs.{name}.Disabled", "").lower() in ("true", "1")


def _find_trigger(bindings: list[dict[str, Any]]) -> dict[str, Any]:
    # the library ensures that there is exactly one
    return next(item for item in bindings if str(item["type"]).lower().endswith("trigger"))


def _resolve(name: str, binding: dict[str, Any]) -> dict[str, Any]:
    return {
        key: resolve_expressions(value, os.environ, where=f"function {name}, {key}")
        if isinstance(value, str) and key not in ("name", "type", "direction", "dataType")
        else value
        for key, value in binding.items()
    }


def _check_trigger(name: str, trigger: Mapping[str, Any], options: HostOptions) -> None:
    kind = trigger["type"]
    if kind not in SERVED_TRIGGERS:
        raise LoadError(
            name,
            f"this host does not serve {kind}",
            remedy=f"it serves {', '.join(SERVED_TRIGGERS)}; run the app under Core Tools",
        )
    if kind in ("serviceBusTrigger", "queueTrigger") and not options.has_bundle:
        raise LoadError(
            name,
            f"the binding type {kind!r} is not registered",
            remedy='host.json needs "extensionBundle": {"id": '
            '"Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.0.0, 5.0.0)"}',
        )
    if kind == "httpTrigger":
        _check_route(name, str(trigger.get("route") or name))
    if str(trigger.get("cardinality", "ONE")).upper() == "MANY":
        raise LoadError(
            name,
            "cardinality MANY is not served",
            remedy="take one message for each call, because a batch is settled as a whole",
        )


def _check_route(name: str, route: str) -> None:
    if route.strip("/").lower().startswith(("admin", "runtime")):
        raise LoadError(
            name,
            f"the route {route!r} conflicts with one of the host's own",
            remedy="do not begin it with 'admin' or 'runtime', with any route prefix",
        )
