"""Checks that a function's signature matches its bindings, as Azure's Python worker does. Entry
point: `check_signature`.

The checks and their order are those of the worker (`azure_functions_worker.functions.Registry`), so
that what loads here also loads in Azure. The advice in the errors is AOS's own.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.functions import get_binding_registry
from azure.functions._thirdparty import typing_inspect

from devhost.functions.errors import LoadError


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What the host needs to call a function: how to decode its input and what to pass."""

    converter: str
    wants_context: bool
    has_return: bool


def check_signature(
    name: str, function: Callable[..., Any], bindings: list[Mapping[str, Any]]
) -> Signature:
    """Raise LoadError if the worker would refuse the function. `bindings` are those of
    function.json."""
    parameters = dict(inspect.signature(function).parameters)
    annotations = _read_annotations(name, function)
    bound = {str(item["name"]): item for item in bindings if item["name"] != "$return"}
    wants_context = _has_context(name, parameters, bound, annotations)
    _check_names(name, parameters, bound)
    converter = "generic"
    for parameter, binding in bound.items():
        converter = _check_parameter(name, parameter, binding, annotations)
    returns = [item for item in bindings if item["name"] == "$return"]
    for binding in returns:
        _check_return(name, str(binding["type"]), annotations)
    return Signature(converter=converter, wants_context=wants_context, has_return=bool(returns))


def _read_annotations(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    # reading an annotation runs code of the app, which may raise anything
    except Exception as error:
        raise LoadError(
            name,
            f"its annotations cannot be read ({error})",
            remedy="import the names at run time, not under TYPE_CHECKING",
        ) from error


def _has_context(
    name: str,
    parameters: dict[str, inspect.Parameter],
    bound: Mapping[str, Any],
    annotations: Mapping[str, Any],
) -> bool:
    if "context" not in parameters or "context" in bound:
        return False
    del parameters["context"]
    annotation = annotations.get("context")
    if annotation is not None and getattr(annotation, "__name__", "") != "Context":
        raise LoadError(
            name,
            f'the "context" parameter is annotated {annotation!r}',
            remedy="annotate it azure.functions.Context",
        )
    return True


def _check_names(
    name: str, parameters: Mapping[str, inspect.Parameter], bound: Mapping[str, Any]
) -> None:
    undeclared = sorted(set(parameters) - set(bound))
    if undeclared:
        raise LoadError(
            name,
            f"parameters {undeclared} are declared in Python but have no binding",
            remedy="give the trigger's arg_name the parameter's name; "
            "your own decorators must use functools.wraps",
        )
    missing = sorted(set(bound) - set(parameters))
    if missing:
        raise LoadError(
            name,
            f"bindings {missing} are declared by decorators but are not parameters",
            remedy="add parameters of these names",
        )


def _check_parameter(
    name: str, parameter: str, binding: Mapping[str, Any], annotations: Mapping[str, Any]
) -> str:
    kind = str(binding["type"])
    if binding["direction"] != "IN":
        raise LoadError(
            name,
            f"binding {parameter!r} is an output of type {kind!r}",
            remedy="remove it and send with the SDK, which Azure needs anyway "
            "for session ids and properties",
        )
    if parameter not in annotations:
        return kind
    annotation = annotations[parameter]
    if not isinstance(annotation, type) and not typing_inspect.is_generic_type(annotation):
        raise LoadError(
            name,
            f"binding {parameter!r} has the non-type annotation {annotation!r}",
            remedy="write typing.List[...] for a list, and no unions",
        )
    if annotation in (str, bytes):
        return "generic"
    if not _is_match(kind, annotation):
        raise LoadError(
            name,
            f"the type of binding {parameter!r}, {kind!r}, does not match its annotation "
            f"{annotation!r}",
            remedy=f"annotate it {_EXPECTED.get(kind, 'as its trigger gives it')}",
        )
    return kind


def _check_return(name: str, kind: str, annotations: Mapping[str, Any]) -> None:
    if "return" not in annotations:
        return
    annotation = annotations["return"]
    if not isinstance(annotation, type):
        raise LoadError(
            name,
            f"the return annotation {annotation!r} is not a type",
            remedy="write -> azure.functions.HttpResponse, without None or a union",
        )
    converter = get_binding_registry().get(kind)
    if not converter.check_output_type_annotation(annotation):
        raise LoadError(
            name,
            f"the return annotation {annotation.__name__!r} does not match the binding {kind!r}",
            remedy="write -> azure.functions.HttpResponse or -> str",
        )


def _is_match(kind: str, annotation: Any) -> bool:
    converter = get_binding_registry().get(kind)
    if converter is None:
        return False
    try:
        return bool(converter.check_input_type_annotation(annotation))
    except TypeError:
        return False


_EXPECTED = {
    "httpTrigger": "azure.functions.HttpRequest",
    "serviceBusTrigger": "azure.functions.ServiceBusMessage",
    "timerTrigger": "azure.functions.TimerRequest",
    "queueTrigger": "azure.functions.QueueMessage",
}
