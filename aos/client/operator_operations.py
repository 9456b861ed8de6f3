"""Says what a client asks about AOS itself. Entry point: `OperatorOperations`."""

from __future__ import annotations

from urllib.parse import urlencode

from aos.client.flows import Flow, Json, Listing, Operation
from aos.client.paths import strip_host
from aos.client.wire import MAX_ITEMS, Call, Sender
from aos.domain.json_writer import write_json

PAGE_ITEMS = 100


class OperatorOperations:
    """Usage, dead letters, the pause, and the state of AOS."""

    _sender: Sender

    @Operation
    def usage(
        self,
        *,
        by: str = "agent",
        first_day: str | None = None,
        last_day: str | None = None,
        agent_id: str | None = None,
        owner: str | None = None,
    ) -> Flow[Json]:
        """Return what ended runs used and what it cost, with the items of all pages.

        `by` is `agent`, `owner`, `day` or `model`. Days are in UTC, such as `2026-01-31`; the
        default is 30 days until today, the most are 92. Callers see their own usage, admins all.
        """
        wanted = {"by": by, "from": first_day, "to": last_day, "agent_id": agent_id, "owner": owner}
        given = urlencode({name: value for name, value in wanted.items() if value})
        report = yield from self._sender.get(f"/api/usage?{given}&limit={PAGE_ITEMS}")
        following = report.get("next")
        items = list(report.get("items", []))
        if following:
            items += yield from self._sender.collect(strip_host(following))
        return {**report, "items": items, "next": None}

    @Listing
    def dead_letters(self, *, entity: str | None = None, limit: int = MAX_ITEMS) -> Flow[None]:
        """List dead letters with the reason and what to do (admins only)."""
        query = f"?{urlencode({'entity': entity})}" if entity else ""
        return self._sender.read_pages(f"/api/dead-letters{query}", limit)

    @Operation
    def pause(self, reason: str = "") -> Flow[Json]:
        """Admit nothing new; what was admitted goes on. For admins."""
        body = write_json({"reason": reason}).encode()
        return self._sender.ask(_switch("pause", body))

    @Operation
    def resume(self) -> Flow[Json]:
        """End a pause. For admins."""
        return self._sender.ask(_switch("resume", None))

    @Operation
    def health(self) -> Flow[Json]:
        """Return whether AOS and its dependencies work: `status` is `healthy`, or the checks give
        the reason."""
        accept = frozenset({200, 503})
        return self._sender.ask(Call(method="GET", path="/api/health", accept=accept))

    @Operation
    def status(self) -> Flow[Json]:
        """Return version and environment; admins get more."""
        return self._sender.get("/api/status")


def _switch(name: str, body: bytes | None) -> Call:
    headers = {"Content-Type": "application/json"} if body else {}
    return Call(method="POST", path=f"/api/ops/{name}", body=body, headers=headers)
