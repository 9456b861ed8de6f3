"""A call of a function: what goes in, what may come out."""

from __future__ import annotations

import asyncio
import threading

import pytest
from azure.functions.meta import Datum

from devhost.functions.invocation import InvocationError, Invoker
from tests.unit.functions.conftest import Load

REQUEST = Datum(
    {
        "method": Datum("POST", "string"),
        "url": Datum("http://host/api/a", "string"),
        "headers": {"x-a": Datum("1", "string")},
        "query": {},
        "params": {},
        "body": Datum(b"hello", "bytes"),
    },
    "http",
)
TICK = Datum("{}", "json")


async def test_a_sync_function_runs_beside_the_loop_and_an_async_one_on_it(load: Load) -> None:
    alone, on_loop = load(
        """
        import threading

        @app.route("a")
        def alone(req: func.HttpRequest, context: func.Context) -> str:
            return f"{threading.get_ident()} {context.function_name} {req.get_body().decode()}"

        @app.route("b")
        async def on_loop(req: func.HttpRequest) -> str:
            return str(threading.get_ident())
        """
    )
    invoker = Invoker(timeout_seconds=5)
    thread, *rest = (await invoker.call(alone, REQUEST, {})).value.split()
    assert (rest, int(thread) != threading.get_ident()) == (["alone", "hello"], True)
    assert (await invoker.call(on_loop, REQUEST, {})).value == str(threading.get_ident())
    assert (invoker.running, invoker.threads_running) == (0, 0)


async def test_a_function_without_a_return_binding_may_return_nothing(load: Load) -> None:
    (tick,) = load(
        '@app.timer_trigger("t", "* * * * * *")\ndef tick(t: func.TimerRequest): return 1'
    )
    with pytest.raises(InvocationError, match=r"'tick' without a \$return binding returned int"):
        await Invoker(timeout_seconds=5).call(tick, TICK, {})


async def test_an_http_function_may_not_return_a_dict(load: Load) -> None:
    (function,) = load('@app.route("a")\ndef f(req: func.HttpRequest): return {}')
    with pytest.raises(InvocationError, match="'f' returned dict"):
        await Invoker(timeout_seconds=5).call(function, REQUEST, {})


async def test_a_call_ends_with_the_functions_time(load: Load) -> None:
    (function,) = load(
        'import asyncio\n@app.route("a")\n'
        "async def f(req: func.HttpRequest) -> str: await asyncio.sleep(60)"
    )
    with pytest.raises(TimeoutError):
        await Invoker(timeout_seconds=0.02).call(function, REQUEST, {})


async def test_idle_is_when_no_call_runs(load: Load) -> None:
    (function,) = load(
        'import asyncio\ngo = asyncio.Event()\n@app.route("a")\n'
        "async def f(req: func.HttpRequest) -> str:\n    await go.wait()\n    return 'x'"
    )
    invoker = Invoker(timeout_seconds=5)
    call = asyncio.create_task(invoker.call(function, REQUEST, {}))
    await asyncio.sleep(0)
    assert invoker.running == 1
    function.call.__globals__["go"].set()
    async with asyncio.timeout(5):
        await invoker.wait_idle()
    assert isinstance(await call, Datum)
