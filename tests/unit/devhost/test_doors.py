"""The story's doors on real Azure Storage and a real socket (the queue's door: tests/e2e)."""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from devhost.doors import LiveDoors, wait_for_reply
from devhost.errors import LaptopError
from devhost.provision import CONTAINERS, QUEUES, TABLES, create_storage
from tests.contract.azurite import Azurite, azurite

__all__ = ["azurite"]


class Main(BaseHTTPRequestHandler):
    """Answers a run with what it was asked; 404 for other agents."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = self.path == "/api/agents/ceo/run"
        self.send_response(200 if found else 404)
        self.end_headers()
        run = {"status": "completed", "output": body.decode()} if found else {"error": "no agent"}
        self.wfile.write(json.dumps(run | {"key": self.headers["x-functions-key"]}).encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def main_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Main) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=10)


def doors(azurite: Azurite, main_url: str = "") -> LiveDoors:
    return LiveDoors(main_url=main_url, storage=azurite.connection_string, bus="", key="k1")


def test_storage_is_provisioned_once_and_again(azurite: Azurite) -> None:
    from azure.data.tables import TableServiceClient
    from azure.storage.blob import BlobServiceClient
    from azure.storage.queue import QueueServiceClient

    for _ in range(2):
        create_storage(azurite.connection_string)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        assert set(CONTAINERS) <= {container.name for container in blobs.list_containers()}
    with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
        assert set(QUEUES) <= {queue.name for queue in queues.list_queues()}
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        assert set(TABLES) <= {table.name for table in tables.list_tables()}


def test_storage_that_does_not_answer_is_one_line() -> None:
    nowhere = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=a2V5;"
        "BlobEndpoint=http://127.0.0.1:9/a;QueueEndpoint=http://127.0.0.1:9/a;"
        "TableEndpoint=http://127.0.0.1:9/a;"
    )
    with pytest.raises(LaptopError, match="aos-config cannot be created in the storage account"):
        create_storage(nowhere, retries=0)


def test_what_is_no_connection_string_is_one_line() -> None:
    with pytest.raises(LaptopError, match="AZURE_STORAGE_CONNECTION_STRING is not valid: "):
        create_storage("junk")


def test_a_card_is_written_only_where_none_is_or_over_the_one_that_was_read(
    azurite: Azurite,
) -> None:
    create_storage(azurite.connection_string)
    door, agent_id = doors(azurite), f"a{uuid.uuid4().hex[:8]}"
    assert door.read_card(agent_id) is None
    first = door.write_card(agent_id, b"1", over=None)
    with pytest.raises(LaptopError, match="cannot be written"):
        door.write_card(agent_id, b"2", over=None)
    second = door.write_card(agent_id, b"2", over=first)
    with pytest.raises(LaptopError, match="cannot be written"):
        door.write_card(agent_id, b"3", over=first)
    card = door.read_card(agent_id)
    assert card is not None
    assert (card.body, card.etag) == (b"2", second)


def test_a_status_is_read_as_it_stands(azurite: Azurite) -> None:
    from azure.storage.blob import BlobClient

    create_storage(azurite.connection_string)
    door, agent_id = doors(azurite), f"a{uuid.uuid4().hex[:8]}"
    assert door.status(agent_id) is None
    blob = BlobClient.from_connection_string(
        azurite.connection_string, "aos-config", f"status/agents/{agent_id}.json"
    )
    with blob:
        blob.upload_blob(b'{"state": "active"}')
    assert door.status(agent_id) == {"state": "active"}


def test_a_question_over_http_carries_the_key_and_the_conversation(
    azurite: Azurite, main_url: str
) -> None:
    answer = doors(azurite, main_url).ask_http("ceo", "Hello?", "c1")
    assert json.loads(answer.text) == {"message": "Hello?", "conversation_id": "c1"}
    assert answer.run["key"] == "k1"
    assert answer.milliseconds > 0


def test_a_refusal_over_http_is_told_with_its_status(azurite: Azurite, main_url: str) -> None:
    with pytest.raises(LaptopError, match=r"HTTP 404: .*no agent"):
        doors(azurite, main_url).ask_http("cto", "Hello?", "c1")


class PaperReplies:
    """A reply queue: what is abandoned comes again at once; `mine` arrives with the third look."""

    def __init__(self, *others: str) -> None:
        self.waiting = deque(_reply(name) for name in others)
        self.deliveries: list[str] = []
        self.looks = 0

    def receive_messages(self, **_: object) -> list[Any]:
        self.looks += 1
        if self.looks == 3:
            self.waiting.append(_reply("mine"))
        found, self.waiting = list(self.waiting), deque()
        self.deliveries += [message.correlation_id for message in found]
        return found

    def abandon_message(self, message: Any) -> None:
        self.waiting.append(message)

    def complete_message(self, message: Any) -> None:
        assert message.correlation_id == "mine"


def _reply(correlation_id: str) -> Any:
    return SimpleNamespace(correlation_id=correlation_id, body=[b'{"output": "yes"}'])


def test_other_peoples_replies_are_delivered_once_more_and_given_back() -> None:
    replies: Any = PaperReplies("hers", "his")
    assert wait_for_reply(replies, "mine") == {"output": "yes"}
    assert replies.deliveries == ["hers", "his", "mine"]
    assert [message.correlation_id for message in replies.waiting] == ["hers", "his"]
