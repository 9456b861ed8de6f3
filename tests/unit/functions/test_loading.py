"""What Azure's host or its Python worker refuses is refused, in one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from devhost.functions.errors import HostError
from devhost.functions.indexing import load_app
from devhost.functions.settings import read_host_json
from tests.unit.functions.conftest import Load

QUEUE = '@app.service_bus_queue_trigger("m", queue_name="q", connection="C")'

REFUSED = {
    "a builtin list as the type of a parameter": (
        f"{QUEUE}\ndef f(m: list[func.ServiceBusMessage]) -> None: ...",
        ("the f function", "list[azure.functions._servicebus.ServiceBusMessage]", "typing.List"),
    ),
    "a union as the type of what is returned": (
        '@app.route("a")\ndef f(req: func.HttpRequest) -> func.HttpResponse | None: ...',
        ("the f function", "is not a type", "write -> azure.functions.HttpResponse"),
    ),
    "a return type that HTTP cannot send": (
        '@app.route("a")\ndef f(req: func.HttpRequest) -> dict: ...',
        ("the f function", "'dict' does not match", "write -> azure.functions.HttpResponse"),
    ),
    "a parameter without a binding": (
        '@app.route("a")\ndef f(req: func.HttpRequest, more: str) -> str: ...',
        ("the f function", "['more']", "arg_name"),
    ),
    "a decorator that hides the signature": (
        "def hide(call):\n    def inner(*args): return call(*args)\n    return inner\n"
        '@app.route("a")\n@hide\ndef f(req: func.HttpRequest) -> str: ...',
        ("['args']", "functools.wraps"),
    ),
    "a binding without a parameter": (
        '@app.route("a")\ndef f(request: func.HttpRequest) -> str: ...',
        ("the f function", "request", "arg_name"),
    ),
    "the type of another trigger": (
        f"{QUEUE}\ndef f(m: func.TimerRequest) -> None: ...",
        ("the f function", "serviceBusTrigger", "azure.functions.ServiceBusMessage"),
    ),
    "an annotation that cannot be read": (
        '@app.route("a")\ndef f(req: "func.Nothing") -> str: ...',
        ("the f function", "annotations cannot be read", "import the names"),
    ),
    "a context of the wrong type": (
        '@app.route("a")\ndef f(req: func.HttpRequest, context: str) -> str: ...',
        ("the f function", "context", "azure.functions.Context"),
    ),
    "two functions of one name": (
        '@app.route("a")\ndef f(req: func.HttpRequest) -> str: ...\n'
        '@app.route("b")\ndef f(req: func.HttpRequest) -> str: ...',
        ("f", "unique"),
    ),
    "two functions whose names differ in letter case": (
        '@app.route("a")\ndef f(req: func.HttpRequest) -> str: ...\n'
        '@app.route("b")\ndef F(req: func.HttpRequest) -> str: ...',
        ("if case is ignored", "rename"),
    ),
    "two apps": (
        'other = func.FunctionApp()\n@app.route("a")\ndef f(req: func.HttpRequest) -> str: ...',
        ("2 function apps", "app, other", "Blueprint"),
    ),
    "no app at all": ("del app", ("no FunctionApp", "app = func.FunctionApp()")),
    "an app without functions": ("", ("no functions",)),
    "a route of the host's own": (
        '@app.route("admin/keys")\ndef f(req: func.HttpRequest) -> str: ...',
        ("'admin/keys'", "'admin' or 'runtime'"),
    ),
    "the other route of the host's own": (
        '@app.route("/Runtime")\ndef f(req: func.HttpRequest) -> str: ...',
        ("'admin' or 'runtime'",),
    ),
    "a name that is not allowed": (
        '@app.function_name("1st")\n@app.route("a")\ndef f(req: func.HttpRequest) -> str: ...',
        ("1st", "begin with a letter"),
    ),
    "an output binding": (
        '@app.service_bus_queue_output("out", queue_name="q", connection="C")\n'
        '@app.route("a")\ndef f(req: func.HttpRequest, out: func.Out[str]) -> str: ...',
        ("'out'", "send with the SDK"),
    ),
    "a trigger that is not served": (
        '@app.blob_trigger("b", path="c/{n}", connection="C")\n'
        "def f(b: func.InputStream) -> None: ...",
        ("does not serve blobTrigger", "Core Tools"),
    ),
    "many messages a call": (
        '@app.service_bus_queue_trigger("m", queue_name="q", connection="C",'
        " cardinality=func.Cardinality.MANY)\n"
        "def f(m: typing.List[func.ServiceBusMessage]) -> None: ...",
        ("MANY", "one message for each call"),
    ),
    "a setting that is not there": (
        '@app.service_bus_queue_trigger("m", queue_name="%NO_SUCH_QUEUE%", connection="C")\n'
        "def f(m: func.ServiceBusMessage) -> None: ...",
        ("%NO_SUCH_QUEUE% does not resolve", "local.settings.json"),
    ),
    "a module that cannot be imported": (
        "import no_such_module_anywhere",
        ("ModuleNotFoundError", "no_such_module_anywhere", "function_app.py:4"),
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.replace(" ", "-"))
def test_what_azure_refuses_is_refused_in_one_line(load: Load, case: str) -> None:
    source, pieces = REFUSED[case]
    with pytest.raises(HostError) as refused:
        load(source)
    line = str(refused.value)
    assert "\n" not in line
    assert [piece for piece in pieces if piece not in line] == []


def test_service_bus_triggers_need_the_extension_bundle(load: Load) -> None:
    with pytest.raises(HostError, match="extensionBundle"):
        load(f"{QUEUE}\ndef f(m: func.ServiceBusMessage) -> None: ...", {"extensionBundle": {}})


def test_a_folder_without_an_app_is_named(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    with pytest.raises(HostError, match=f"{tmp_path} has no function_app.py"):
        load_app(tmp_path, read_host_json(tmp_path))


def test_functions_load_with_their_bindings_and_settings(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_QUEUE", "orders")
    monkeypatch.setenv("AzureWebJobs.asleep.Disabled", "true")
    functions = load(
        """
        @app.service_bus_queue_trigger("m", queue_name="%THE_QUEUE%", connection="C",
                                       data_type=func.DataType.BINARY, is_sessions_enabled=True)
        async def orders(m: func.ServiceBusMessage, context: func.Context) -> None: ...

        @app.route("a/{b}", methods=["GET"])
        def asleep(req: func.HttpRequest) -> func.HttpResponse: ...

        @app.timer_trigger("t", "*/5 * * * * *")
        def untyped(t): ...
        """
    )
    asleep, orders, untyped = functions
    assert (orders.name, orders.is_async, orders.wants_context) == ("orders", True, True)
    assert orders.trigger["queueName"] == "orders"
    assert (orders.trigger["dataType"], orders.trigger["isSessionsEnabled"]) == ("BINARY", True)
    assert (asleep.kind, asleep.disabled, asleep.has_return) == ("httpTrigger", True, True)
    assert (untyped.is_async, untyped.disabled, untyped.has_return) == (False, False, False)


def test_the_apps_own_folder_is_first_on_the_path(load: Load, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "neighbour.py").write_text("NAME = 'near'")
    (function,) = load(
        "import neighbour\n"
        "@app.function_name(neighbour.NAME)\n"
        '@app.route("a")\ndef f(req: func.HttpRequest) -> str: ...'
    )
    assert function.name == "near"
