"""Creates the containers, tables and queues of AOS in the laptop's storage. Entry point:
`create_storage`.

In Azure, Bicep creates the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devhost.errors import LaptopError

CONTAINERS = ("aos-config", "aos-data", "aos-logs")
TABLES = (
    "aosruns",
    "aosconversations",
    "aospending",
    "aosindex",
    "aostoolcalls",
    "aostools",
    "aosusage",
    "aosfailures",
    "aosschedules",
)
QUEUES = ("aos-jobs",)


def create_storage(connection_string: str, *, retries: int = 3) -> None:
    """Create what does not exist yet. A second call changes nothing. Raises LaptopError."""
    # The SDKs take a second to import, and only a start needs them.
    from azure.core.exceptions import AzureError, ResourceExistsError
    from azure.data.tables import TableServiceClient
    from azure.storage.blob import BlobServiceClient
    from azure.storage.queue import QueueServiceClient

    limits: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": retries}
    try:
        blobs = BlobServiceClient.from_connection_string(connection_string, **limits)
        queues = QueueServiceClient.from_connection_string(connection_string, **limits)
        tables = TableServiceClient.from_connection_string(connection_string, **limits)
    except ValueError as error:
        raise LaptopError(f"AZURE_STORAGE_CONNECTION_STRING is not valid: {error}") from error
    wanted: tuple[tuple[Callable[[str], Any], str], ...] = (
        *((blobs.create_container, name) for name in CONTAINERS),
        *((queues.create_queue, name) for name in QUEUES),
        *((tables.create_table_if_not_exists, name) for name in TABLES),
    )
    with blobs, queues, tables:
        for create, name in wanted:
            try:
                create(name)
            except ResourceExistsError:
                continue
            except AzureError as error:
                raise LaptopError(
                    f"{name} cannot be created in the storage account: "
                    f"{str(error).splitlines()[0]}; check AZURE_STORAGE_CONNECTION_STRING"
                ) from error
