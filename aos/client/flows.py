"""Defines an operation of a client without its I/O. Entry points: `Flow`, `Operation`, `Listing`;
`run`, `run_later`, `iterate`, `iterate_later` for transports.

A flow is a generator. It yields what it needs (an effect), and gets the answer of the transport.
So the rules of a client (what to send, when to repeat, how to resume) exist once, and a blocking
client and one for asyncio both carry them out. `make_methods` gives a class its methods.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeAlias, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")
Json: TypeAlias = dict[str, Any]
Flow: TypeAlias = Generator[Any, Any, T]
"""Yields effects, gets their answers, and returns a T."""


@dataclass(frozen=True, slots=True)
class Pause:
    """An effect: wait for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """An effect: call `do`, which blocks shortly (a file); answer what it returns."""

    do: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Item:
    """An effect: hand `value` to the reader of a list or a stream."""

    value: Json


def run(flow: Flow[T], perform: Callable[[object], Any]) -> T:
    """Carry a flow out; `perform` answers its effects."""
    with closing(flow):
        answer = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # StopIteration is untyped
            answer = perform(effect)


async def run_later(flow: Flow[T], perform: Callable[[object], Awaitable[Any]]) -> T:
    """`run` in the running event loop."""
    with closing(flow):
        answer = None
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # StopIteration is untyped
            answer = await perform(effect)


def iterate(flow: Flow[None], perform: Callable[[object], Any]) -> Iterator[Json]:
    """Carry a flow out and yield its items; `perform` answers its other effects."""
    with closing(flow):
        answer = None
        while (effect := _next_effect(flow, answer)) is not None:
            answer = None
            if isinstance(effect, Item):
                yield effect.value
            else:
                answer = perform(effect)


async def iterate_later(
    flow: Flow[None], perform: Callable[[object], Awaitable[Any]]
) -> AsyncGenerator[Json, None]:
    """`iterate` in the running event loop."""
    with closing(flow):
        answer = None
        while (effect := _next_effect(flow, answer)) is not None:
            answer = None
            if isinstance(effect, Item):
                yield effect.value
            else:
                answer = await perform(effect)


def _next_effect(flow: Flow[None], answer: Any) -> object | None:
    """The next effect of a flow; None at its end."""
    try:
        return flow.send(answer)  # type: ignore[no-any-return]  # effects are of any type
    except StopIteration:
        return None


class Blocking:
    """A client whose methods block."""

    def carry_out(self, flow: Flow[T]) -> T:
        """Perform the flow's effects; return its result."""
        raise NotImplementedError

    def read_items(self, flow: Flow[None]) -> Iterator[Json]:
        """Perform the flow's effects; yield its items."""
        raise NotImplementedError


class Awaiting:
    """A client whose methods are coroutines."""

    async def carry_out(self, flow: Flow[T]) -> T:
        """Perform the flow's effects; return its result."""
        raise NotImplementedError

    def read_items(self, flow: Flow[None]) -> AsyncIterator[Json]:
        """Perform the flow's effects; yield its items."""
        raise NotImplementedError


class _Plan(Generic[P]):
    """A method of both kinds of clients, as the function that makes its flow."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Flow[Any]]) -> None:
        self.plan = plan

    def make_method(self, kind: type[Blocking] | type[Awaiting]) -> Callable[..., Any]:
        """Make the method of a class of this kind."""
        raise NotImplementedError

    def _name(self, method: Callable[..., Any], result: str) -> Callable[..., Any]:
        functools.update_wrapper(method, self.plan)
        signature = inspect.signature(self.plan)
        method.__signature__ = signature.replace(return_annotation=result)  # type: ignore[attr-defined]  # functions take attributes
        return method


class Operation(_Plan[P], Generic[P, T]):
    """A method with one result: awaited in a client for asyncio."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        super().__init__(plan)

    @overload
    def __get__(self, client: Blocking, owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, client: Awaiting, owner: object = None
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: object = None) -> Self: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        """Return this plan. Classes that `make_methods` made have functions in its place."""
        return self

    def make_method(self, kind: type[Blocking] | type[Awaiting]) -> Callable[..., Any]:
        """Make the method of a class of this kind."""
        plan = self.plan
        result = str(plan.__annotations__["return"]).removeprefix("Flow[").removesuffix("]")

        def call(client: Blocking, *args: P.args, **kwargs: P.kwargs) -> Any:
            return client.carry_out(plan(client, *args, **kwargs))

        async def call_later(client: Awaiting, *args: P.args, **kwargs: P.kwargs) -> Any:
            return await client.carry_out(plan(client, *args, **kwargs))

        return self._name(call_later if issubclass(kind, Awaiting) else call, result)


class Listing(_Plan[P]):
    """A method whose result is read item by item, with `for` or `async for`."""

    @overload
    def __get__(self, client: Blocking, owner: object = None) -> Callable[P, Iterator[Json]]: ...
    @overload
    def __get__(
        self, client: Awaiting, owner: object = None
    ) -> Callable[P, AsyncIterator[Json]]: ...
    @overload
    def __get__(self, client: None, owner: object = None) -> Self: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        """Return this plan. Classes that `make_methods` made have functions in its place."""
        return self

    def make_method(self, kind: type[Blocking] | type[Awaiting]) -> Callable[..., Any]:
        """Make the method of a class of this kind."""
        plan = self.plan
        result = "AsyncIterator[Json]" if issubclass(kind, Awaiting) else "Iterator[Json]"

        def read(client: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return client.read_items(plan(client, *args, **kwargs))

        return self._name(read, result)


K = TypeVar("K", bound=type[Blocking] | type[Awaiting])


def make_methods(kind: K) -> K:
    """Give a class a method for each operation that it inherits."""
    for base in kind.__mro__:
        for name, plan in vars(base).items():
            if isinstance(plan, _Plan) and name not in vars(kind):
                setattr(kind, name, plan.make_method(kind))
    return kind
