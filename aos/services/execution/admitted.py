"""Takes what realm starts and cancels from the request row, not from the command.

More than main may send to `aos-realm`: mcp sends results there. So a StartRun or a CancelRun only
names a run. What the run is, and whose, is what main wrote when it admitted it. Entry point:
`as_admitted`.
"""

from __future__ import annotations

from dataclasses import replace

from aos.domain.envelope import CancelRun, EnvelopeError, StartRun
from aos.ports.requests import StoredRequest


def as_admitted(
    command: StartRun | CancelRun, stored: StoredRequest | None
) -> StartRun | CancelRun:
    """The command with its run as main admitted it.

    Raises EnvelopeError when main admitted no such run, admitted it in another conversation, or
    (a CancelRun) was not asked to cancel it: the command is forged or damaged.
    """
    if stored is None or stored.request.conversation_id != command.conversation_id:
        raise EnvelopeError(
            f"main admitted no run {command.run_id!r} in conversation "
            f"{command.conversation_id!r}, so the {command.type} is not obeyed; find out who may "
            "send to aos-realm"
        )
    if isinstance(command, StartRun):
        return replace(command, request=stored.request)
    if stored.cancel_requested_at is None:
        raise EnvelopeError(
            f"nobody asked main to cancel run {command.run_id!r}, so the CancelRun is not obeyed; "
            "find out who may send to aos-realm"
        )
    return replace(command, request=stored.request, reason=stored.cancel_reason)
