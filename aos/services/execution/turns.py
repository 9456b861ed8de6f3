"""Takes one turn of an active run: chooses the model, builds the messages, calls the model. Entry
point: `Turns.take`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from aos.domain.cards.agent_card import AgentCard
from aos.domain.output_schema import REPAIRS, OutputFault, ask_for_repair, read_output
from aos.domain.runs.conversation import ActiveRun, Conversation, Message
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.window import count_to_read
from aos.domain.tools.offer import Offer, add_client_tools
from aos.domain.tools.written_calls import find_written_call
from aos.errors import EmptyAnswer, ErrorInfo, RunFailed, TransientError
from aos.ports.model import ChatMessage, ChatModel, ModelAnswer, ModelCall, TextSink
from aos.ports.requests import RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.services.execution.chat import build_chat, describe_effects
from aos.services.execution.model_call import (
    CancelAsked,
    CancelWatch,
    ModelCaller,
    ModelIdentity,
    TurnMeter,
)
from aos.services.execution.tool_offers import ToolOffers
from aos.services.execution.turn_outcome import (
    Answered,
    Cancelled,
    Failed,
    HandlerOutOfTime,
    ModelAway,
    RunOutOfTime,
    Spent,
    ToolsAway,
    TurnOutcome,
)

SHORTENINGS = 5
"""How often a history that is too long for the model is halved."""
NOT_PARSED = (
    "the model endpoint passed a tool call on as text, so it was not made; let the endpoint parse"
    " tool calls (vLLM: --enable-auto-tool-choice and --tool-call-parser, llama.cpp: --jinja,"
    " SGLang: --tool-call-parser), or choose a model whose chat template knows tools"
)
MAX_SHOWN_OUTPUT = 2_000
"""Characters of an output that does not fit, in the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Limits of one turn. A failed model call is retried for `patience_seconds`."""

    model_timeout_seconds: float
    turn_seconds: float = 240.0
    patience_seconds: float = 60.0
    max_tools: int = 128


class Turns:
    """Takes the turns of active runs."""

    def __init__(
        self,
        *,
        model: ChatModel,
        requests: RequestStore,
        offers: ToolOffers,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        limits: TurnLimits,
        identity: ModelIdentity | None = None,
    ) -> None:
        self._model = model
        self._requests = requests
        self._offers = offers
        self._clock = clock
        self._telemetry = telemetry
        self._limits = limits
        self._identity = identity or ModelIdentity()
        self._caller = ModelCaller(
            model=model,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
            identity=self._identity,
            patience_seconds=limits.patience_seconds,
        )

    @property
    def model_trouble(self) -> str | None:
        """The code of what keeps the model from answering, as last seen here, or None."""
        return self._caller.trouble

    def name_model(self, card: AgentCard) -> str | None:
        """The model that a turn of an agent without an adapter asks first; None if nobody says."""
        return card.model or self._identity.default_model

    async def look_ahead(self, card: AgentCard) -> None:
        """Read the tools that a turn of this agent will offer. Raises TransientError."""
        await self._offers.make(card, depth=0)

    async def take(
        self,
        conversation: Conversation,
        active: ActiveRun,
        card: AgentCard,
        *,
        handler_deadline: float,
        read_history: Callable[[int], Awaitable[Sequence[Message]]],
        on_slow: Callable[[], Awaitable[None]],
        sink: TextSink | None = None,
    ) -> tuple[TurnOutcome, Spent]:
        """Ask the model once for this run; the outcome, and what answers took that it cannot use.

        `handler_deadline` is on the monotonic clock. `read_history` returns the last messages, at
        most so many, also those that are not saved. `on_slow` is awaited once, when the call has
        lasted a second. The `sink` of a watched run gets the model's text as it comes. Raises
        TransientError when the history cannot be read.
        """
        meter = TurnMeter()
        outcome = await self._take(
            conversation,
            active,
            card,
            meter,
            handler_deadline=handler_deadline,
            read_history=read_history,
            on_slow=on_slow,
            sink=sink,
        )
        return outcome, meter.spent

    async def _take(
        self,
        conversation: Conversation,
        active: ActiveRun,
        card: AgentCard,
        meter: TurnMeter,
        *,
        handler_deadline: float,
        read_history: Callable[[int], Awaitable[Sequence[Message]]],
        on_slow: Callable[[], Awaitable[None]],
        sink: TextSink | None,
    ) -> TurnOutcome:
        card = _apply_options(card, active.request)
        parent = active.request.parent
        offer = await self._offers.make(card, depth=0 if parent is None else parent.depth)
        if isinstance(offer, ToolsAway):
            return offer
        if active.request.options is not None:
            offer = add_client_tools(offer, active.request.options.tools)
        if len(offer.tools) > self._limits.max_tools:
            return Failed(error=_too_many_tools(offer, self._limits.max_tools))
        limit = count_to_read(card.memory.window_messages, turns=active.turns)
        history = await read_history(limit) if conversation.next_sequence else ()

        def build(size: int | None = None) -> tuple[ChatMessage, ...]:
            return build_chat(history, active, card, offer, conversation.withheld_runs, size=size)

        messages = build()
        deadline = min(handler_deadline, self._clock.monotonic() + self._limits.turn_seconds)
        watch = CancelWatch(self._requests, active.request.run_id, on_slow)
        try:
            model, missing_adapter = await self._choose_model(card)
            call = ModelCall(
                model=model,
                messages=messages,
                parameters=card.parameters,
                timeout_seconds=self._limits.model_timeout_seconds,
                tools=offer.tools,
                fallbacks=card.fallback_models,
                response_schema=card.output_schema,
                output_tokens=active.output_tokens_left,
                sink=sink,
            )
            call, outcome = await self._ask_in_length(
                call, build, active, watch, meter, deadline=deadline
            )
            if isinstance(outcome, tuple) and card.output_schema is not None:
                outcome = await self._repair(call, outcome, active, watch, meter, deadline=deadline)
        except CancelAsked:
            return Cancelled(reason=await self._read_cancel_reason(active))
        except EmptyAnswer as error:
            return Failed(error=describe_effects(error.info, messages))
        except RunFailed as error:
            return Failed(error=error.info)
        if not isinstance(outcome, tuple):
            return outcome
        answer, seconds = outcome
        return Answered(
            answer=self._note_written_call(answer, offer, active),
            seconds=seconds,
            offer=offer,
            missing_adapter=missing_adapter,
        )

    def _note_written_call(
        self, answer: ModelAnswer, offer: Offer, active: ActiveRun
    ) -> ModelAnswer:
        """Say of a tool call that came as text that it was not parsed; it is not made."""
        if answer.tool_calls or answer.output is not None or not offer.tools:
            return answer
        name = find_written_call(answer.text, offer.targets)
        if name is None:
            return answer
        self._telemetry.log(
            "model_tool_call_unparsed",
            level="warning",
            tool=name,
            model=answer.model,
            reason=NOT_PARSED,
            run_id=active.request.run_id,
            conversation_id=active.request.conversation_id,
            agent_id=active.request.agent_id,
        )
        return replace(answer, finish_reason="unparsed_tool_call")

    async def _ask_in_length(
        self,
        call: ModelCall,
        build: Callable[[int], tuple[ChatMessage, ...]],
        active: ActiveRun,
        watch: CancelWatch,
        meter: TurnMeter,
        *,
        deadline: float,
    ) -> tuple[ModelCall, tuple[ModelAnswer, float] | ModelAway | RunOutOfTime | HandlerOutOfTime]:
        """Ask; while the endpoint says that the request is too long, ask with half of the history.

        Returns the call that was not too long, and its outcome.
        """
        size = sum(len(message.content) for message in call.messages[1:])
        for _ in range(SHORTENINGS):
            try:
                return call, await self._caller.ask(call, active, watch, meter, deadline=deadline)
            except RunFailed as error:
                size //= 2
                shorter = build(size)
                if error.info.details.get("too_long") is not True or shorter == call.messages:
                    raise
                call = replace(call, messages=shorter)
        return call, await self._caller.ask(call, active, watch, meter, deadline=deadline)

    async def _repair(
        self,
        call: ModelCall,
        answered: tuple[ModelAnswer, float],
        active: ActiveRun,
        watch: CancelWatch,
        meter: TurnMeter,
        *,
        deadline: float,
    ) -> tuple[ModelAnswer, float] | ModelAway | RunOutOfTime | HandlerOutOfTime:
        """Return an answer whose output fits the card's schema; ask again if it does not fit.

        Raises RunFailed `model_output_invalid` when the model's last repair does not fit either.
        """
        answer, seconds = answered
        assert call.response_schema is not None
        for tries in range(REPAIRS + 1):
            if answer.tool_calls:
                return answer, seconds
            output = read_output(answer.text, call.response_schema)
            if not isinstance(output, OutputFault):
                return replace(answer, output=output), seconds
            meter.add(answer.usage, seconds=seconds)
            if tries == REPAIRS:
                raise RunFailed(
                    "model_output_invalid",
                    f"the output does not fit the output_schema: {output.message}",
                    output=answer.text[:MAX_SHOWN_OUTPUT],
                )
            said = ChatMessage(role="assistant", content=answer.text, fields=answer.fields)
            wish = ChatMessage(role="user", content=ask_for_repair(output))
            call = replace(call, messages=(*call.messages, said, wish))
            again = await self._caller.ask(call, active, watch, meter, deadline=deadline)
            if not isinstance(again, tuple):
                return again
            answer, seconds = again
        raise AssertionError("the loop returns or raises")

    async def _choose_model(self, card: AgentCard) -> tuple[str | None, str | None]:
        """The model or adapter to ask for, and the adapter that the endpoint does not serve."""
        if card.adapter_name is None:
            return card.model, None
        try:
            served = await self._model.list_served()
        except TransientError:
            served = frozenset()
        if card.adapter_name in served:
            return card.adapter_name, None
        if card.adapter_required:
            raise RunFailed(
                "adapter_unavailable",
                f"the model endpoint does not serve adapter {card.adapter_name!r}, which the card"
                " requires; load the adapter or set adapter_required to false",
            )
        return card.model, card.adapter_name

    async def _read_cancel_reason(self, active: ActiveRun) -> str | None:
        """Why the run was cancelled; AOS itself cancels delegated runs only."""
        if active.request.parent is None:
            return None
        stored = await self._requests.find(active.request.run_id)
        return None if stored is None else stored.cancel_reason


def _apply_options(card: AgentCard, request: AdmittedRequest) -> AgentCard:
    """The card for this run: the output schema of the request counts before the card's."""
    if request.options is None or request.options.output_schema is None:
        return card
    return replace(card, output_schema=request.options.output_schema)


def _too_many_tools(offer: Offer, bound: int) -> ErrorInfo:
    return ErrorInfo(
        code="too_many_tools",
        message=(
            f"the agent's card and the application offer {len(offer.tools):,} tools, and the model"
            f' takes {bound}; grant fewer in the card: {{"server": …, "tools": […]}} in mcp_tools,'
            " or offer fewer with the request"
        ),
        details={"tools": len(offer.tools), "bound": bound},
    )
