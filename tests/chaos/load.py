"""Asks and collects what comes of it, as two kinds of clients. Entry points: `HttpClients`,
`QueueClient`.

A client does what ours tell people to do: it repeats a request whose outcome it does not know, with
the same key, until it is accepted.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusError

from tests.chaos.verdict import End, Request, Seen
from tests.e2e.road import REPLIES, REQUESTS, Answer, Road

AGENT = "chaos"
CALL_SECONDS = 20.0
PAUSE_SECONDS = 0.3
POLL_SECONDS = 1.0
KEY = "chaos-{number}"


class Notes:
    """Writes what the threads see into one `Seen`."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.closing = threading.Event()
        self.refused: Counter[str] = Counter()
        """Attempts that did not get through, by door."""
        self._lock = threading.Lock()

    def accept(self, request: Request) -> None:
        """The request is accepted."""
        with self._lock:
            self.seen.requests[request.number] = request
            self.seen.accepted.setdefault(request.number, time.monotonic())

    def end(self, number: int, end: End) -> None:
        """Somebody was told this end."""
        with self._lock:
            self.seen.ends.setdefault(number, []).append(end)
            self.seen.ended.setdefault(number, time.monotonic())

    def refuse(self, request: Request) -> None:
        """An attempt failed, and will be repeated."""
        with self._lock:
            self.refused[request.door] += 1

    def has_ended(self, number: int) -> bool:
        """Whether somebody was told its end."""
        return number in self.seen.ends


def call(
    road: Road, method: str, path: str, body: object = None, **options: object
) -> Answer | None:
    """One HTTP call: its answer, None if there was none."""
    try:
        return road.call(method, path, body, timeout=CALL_SECONDS, **options)  # type: ignore[arg-type]
    except (OSError, http.client.HTTPException):
        return None


class HttpClients:
    """Some threads; each POSTs a request, then polls its run until that has ended."""

    def __init__(
        self, road: Road, notes: Notes, *, requests: Iterator[Request], count: int
    ) -> None:
        self._road = road
        self._notes = notes
        self._requests = requests
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]

    def _next(self) -> Request | None:
        with self._lock:
            return next(self._requests, None)

    def _work(self) -> None:
        while (request := self._next()) is not None:
            run_id = self._post(request)
            if run_id is None or not self._poll(request, run_id):
                return

    def _post(self, request: Request) -> str | None:
        body = {
            "message": request.text,
            "conversation_id": request.conversation_id,
            "wait_seconds": 0,
        }
        headers = {"Idempotency-Key": KEY.format(number=request.number)}
        while not self._notes.closing.is_set():
            answer = call(self._road, "POST", f"/api/agents/{AGENT}/run", body, headers=headers)
            if answer is not None and answer.status in (200, 202):
                self._notes.accept(request)
                return str(answer.body["run_id"])
            if answer is not None and answer.status not in (408, 429, 500, 502, 503, 504):
                raise AssertionError(f"{request} was refused: {answer}")
            self._notes.refuse(request)
            time.sleep(PAUSE_SECONDS)
        return None

    def _poll(self, request: Request, run_id: str) -> bool:
        while not self._notes.closing.is_set():
            answer = call(self._road, "GET", f"/api/runs/{run_id}")
            if answer is not None and answer.status == 200 and answer.body["ended_at"]:
                self._notes.end(request.number, read_end(answer.body))
                return True
            time.sleep(POLL_SECONDS)
        return False


class QueueClient:
    """A thread that sends requests, at most `window` of them without a reply, and one that
    receives replies."""

    def __init__(
        self, connect: Callable[[], ServiceBusClient], notes: Notes, *, window: int
    ) -> None:
        self._connect = connect
        self._notes = notes
        self._window = threading.Semaphore(window)
        self.received = 0
        self.receiving = threading.Thread(target=self._receive, daemon=True)

    def send_all(self, requests: Iterator[Request]) -> threading.Thread:
        """Start to send."""
        thread = threading.Thread(target=self._send_all, args=(requests,), daemon=True)
        thread.start()
        return thread

    def _send_all(self, requests: Iterator[Request]) -> None:
        with self._connect() as client:
            sender = client.get_queue_sender(REQUESTS)
            for request in requests:
                while not self._window.acquire(timeout=1):
                    if self._notes.closing.is_set():
                        return
                for attempt in itertools.count():
                    try:
                        sender.send_messages(write_message(request))
                        break
                    except (ServiceBusError, ValueError, OSError):
                        if self._notes.closing.is_set():
                            return
                        self._notes.refuse(request)
                        time.sleep(PAUSE_SECONDS)
                        if attempt % 3 == 2:
                            sender = client.get_queue_sender(REQUESTS)
                self._notes.accept(request)

    def _receive(self) -> None:
        while not self._notes.closing.is_set():
            try:
                with self._connect() as client, client.get_queue_receiver(REPLIES) as receiver:
                    self._take(receiver)
            except (ServiceBusError, ValueError, OSError):
                time.sleep(PAUSE_SECONDS)

    def _take(self, receiver: object) -> None:
        while not self._notes.closing.is_set():
            for message in receiver.receive_messages(max_message_count=50, max_wait_time=0.5):  # type: ignore[attr-defined]
                number = int(str(message.correlation_id).rpartition("-")[2])
                body = json.loads(b"".join(message.body))
                first = not self._notes.has_ended(number)
                self._notes.end(number, read_end(body, reply_id=str(message.message_id)))
                if first:
                    self._window.release()
                receiver.complete_message(message)  # type: ignore[attr-defined]


def write_message(request: Request) -> ServiceBusMessage:
    """The request as a message of the queue."""
    key = KEY.format(number=request.number)
    body = {
        "version": 1,
        "agent_id": AGENT,
        "message": request.text,
        "conversation_id": request.conversation_id,
    }
    return ServiceBusMessage(json.dumps(body), message_id=key, correlation_id=key)


def read_end(run: dict[str, object], *, reply_id: str = "") -> End:
    """The end that a run object tells."""
    error = run.get("error")
    text = str(run["output"]) if error is None else json.dumps(error)
    return End(status=str(run["status"]), text=text, reply_id=reply_id)
