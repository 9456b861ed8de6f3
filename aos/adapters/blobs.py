"""Keeps blobs in Azure Storage. Entry point: `AzureBlobs`.

`AzureBlobs` holds one open client for one account; `container()` returns the `BlobStore` of a
container. Time-outs are bounded. Errors of the SDK become `BlobMissing`, `StaleWrite` (a condition
did not hold), `OutcomeUnknown` (a write without an answer) or `TransientError` (storage is away,
throttles or refuses). The first call imports the SDK, which takes about 0.6 s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aos.adapters.storage_calls import READ_RETRIES, READ_TIMEOUT_SECONDS, read_retry_after
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.blobs import Blob, BlobInfo, BlobMissing, Unchanged

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

OPERATION_TIMEOUT_SECONDS = 30.0
LISTING_TIMEOUT_SECONDS = 60.0
LISTING_PAGE = 5000
PIECE_BYTES = 1024 * 1024
BLOCK_BYTES = 256 * 1024
"""How much of an answer is read at once, as the SDK does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobAccount:
    """How to reach the storage account: by a connection string or by identity.

    By identity: `account_name` (setting suffix `__accountName`) or `service_url`
    (`__blobServiceUri`); `client_id` (`__clientId`) names a user-assigned identity.
    """

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    service_url: str | None = None
    client_id: str | None = None


class AzureBlobs:
    """The blobs of one storage account, with one HTTP client for all its containers."""

    def __init__(self, account: BlobAccount) -> None:
        self._account = account
        self._client: BlobServiceClient | None = None
        self._containers: dict[str, ContainerClient] = {}
        self._credential: Any = None

    def container(self, name: str) -> AzureBlobStore:
        """Return the store of one container."""
        return AzureBlobStore(self, name)

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        client, self._client = self._client, None
        self._containers = {}
        credential, self._credential = self._credential, None
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()

    def container_client(self, name: str) -> ContainerClient:
        """Return the SDK's client of a container; open the account first if needed."""
        if self._client is None:
            self._client = self._open()
        if name not in self._containers:
            self._containers[name] = self._client.get_container_client(name)
        return self._containers[name]

    def _open(self) -> BlobServiceClient:
        from azure.storage.blob.aio import BlobServiceClient, LinearRetry

        from aos.adapters.storage_transport import open_transport

        account = self._account
        options: dict[str, Any] = {
            "transport": open_transport(
                read_timeout=READ_TIMEOUT_SECONDS, connection_data_block_size=BLOCK_BYTES
            ),
            "retry_policy": LinearRetry(backoff=1, random_jitter_range=1, retry_total=READ_RETRIES),
            # Larger bodies are sent in blocks, so that the event loop can run other tasks in
            # between.
            "max_single_put_size": PIECE_BYTES,
            "max_block_size": PIECE_BYTES,
        }
        if account.connection_string:
            return BlobServiceClient.from_connection_string(account.connection_string, **options)
        from azure.identity.aio import DefaultAzureCredential

        url = account.service_url or f"https://{account.account_name}.blob.core.windows.net"
        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return BlobServiceClient(url, credential=self._credential, **options)


class AzureBlobStore:
    """One container in Azure Storage. Implements `BlobStore`."""

    def __init__(self, blobs: AzureBlobs, name: str) -> None:
        self._blobs = blobs
        self._name = name
        self._client: ContainerClient | None = None

    async def create_if_missing(self) -> None:
        """Create the container. The laptop needs this; in Azure the deployment creates it."""
        with contextlib.suppress(StaleWrite):
            async with _translate_errors("the container", self._name):
                await self._container().create_container()

    async def list(self, prefix: str) -> list[BlobInfo]:
        """List all blobs whose name begins with `prefix`, ordered by name."""
        found: list[BlobInfo] = []
        async with _translate_errors(prefix, self._name, timeout_seconds=LISTING_TIMEOUT_SECONDS):
            pages = self._container().list_blobs(
                name_starts_with=prefix, results_per_page=LISTING_PAGE
            )
            async for blob in pages:
                found.append(
                    BlobInfo(
                        name=blob.name,
                        etag=_quote_etag(blob.etag),
                        size=blob.size,
                        last_modified=blob.last_modified,
                    )
                )
        return found

    async def read(self, name: str, *, max_bytes: int | None = None) -> Blob:
        """Read the blob, or its first `max_bytes` bytes. Raises BlobMissing."""
        if max_bytes is None:
            return await self._download(name)
        try:
            return await self._download(name, offset=0, length=max_bytes)
        except _EmptyRange:  # storage refuses every byte range of an empty blob
            return await self._download(name)

    async def read_if_changed(self, name: str, *, etag: str) -> Blob | Unchanged:
        """Read the blob, or return Unchanged if its ETag is still `etag`. Raises BlobMissing."""
        from azure.core import MatchConditions

        try:
            return await self._download(name, etag=etag, match_condition=MatchConditions.IfModified)
        except _NotModified:
            return Unchanged()

    async def _download(self, name: str, **options: Any) -> Blob:
        async with _translate_errors(name, self._name):
            download = await self._container().download_blob(name, **options)
            body = await download.readall()
        return Blob(name=name, etag=_quote_etag(download.properties.etag), body=body)

    async def write(
        self, name: str, body: bytes, *, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write the whole blob and return its new ETag. Raises StaleWrite if a condition did not
        hold.

        The SDK never repeats a conditional write: after a lost answer, the repeat would find the
        first write and report it as stale.
        """
        options: dict[str, Any] = {"overwrite": not create_only, **_make_condition(if_match)}
        if create_only or if_match is not None:
            options["retry_total"] = 0
        try:
            async with _translate_errors(name, self._name, writing=True):
                blob = self._container().get_blob_client(name)
                content = _make_content_settings(name)
                answer = await blob.upload_blob(body, content_settings=content, **options)
        except BlobMissing as error:  # If-Match on a blob that does not exist
            raise StaleWrite(f"blob {name!r} was deleted") from error
        return _quote_etag(answer["etag"])

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete the blob. Does nothing if it does not exist."""
        with contextlib.suppress(BlobMissing):
            async with _translate_errors(name, self._name, writing=True):
                blob = self._container().get_blob_client(name)
                await blob.delete_blob(**_make_condition(if_match))

    def _container(self) -> ContainerClient:
        return self._blobs.container_client(self._name)


class _NotModified(Exception):
    """The blob still has the given ETag."""


class _EmptyRange(Exception):
    """The blob is empty, so no byte range exists in it."""


def _quote_etag(raw: str) -> str:
    """Return the ETag in quotes: listings omit the quotes, answers include them."""
    return f'"{raw.strip(chr(34))}"'


def _make_condition(etag: str | None) -> dict[str, Any]:
    from azure.core import MatchConditions

    if etag is None:
        return {}
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _make_content_settings(name: str) -> Any:
    from azure.storage.blob import ContentSettings

    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    return ContentSettings(content_type=kind)


@contextlib.asynccontextmanager
async def _translate_errors(
    name: str,
    container: str,
    *,
    writing: bool = False,
    timeout_seconds: float = OPERATION_TIMEOUT_SECONDS,
) -> AsyncIterator[None]:
    """Limit the time of a call and translate its errors."""
    from azure.core.exceptions import AzureError, HttpResponseError

    unanswered = OutcomeUnknown if writing else TransientError
    what = f"blob {name!r} in container {container!r}"
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        raise unanswered(f"storage did not answer within {timeout_seconds:g} s ({what})") from error
    except HttpResponseError as error:
        raise _translate_status(error, name, what, writing=writing) from error
    except AzureError as error:
        message = f"storage did not answer ({what}): {error.message}"
        raise unanswered(message) from error


def _translate_status(
    error: HttpResponseError, name: str, what: str, *, writing: bool
) -> Exception:
    """Return the AosError for an error status of storage."""
    code = getattr(error, "error_code", None) or error.reason
    code = str(getattr(code, "value", code))
    status = error.status_code or 0
    if code == "ContainerNotFound":
        return TransientError(f"the container of {what} does not exist; create it")
    if status == 304:
        return _NotModified()
    if status == 416:
        return _EmptyRange()
    if status == 404:
        return BlobMissing(name)
    if status == 412 or code in ("BlobAlreadyExists", "ContainerAlreadyExists"):
        return StaleWrite(f"{what} was changed by another writer ({code})")
    if status in (401, 403):
        return TransientError(
            f"storage refused access to {what} ({code}); check the app's role or key"
        )
    if writing and status >= 500 and status != 503:
        return OutcomeUnknown(f"storage failed on {what} ({status} {code})")
    message = f"storage failed on {what} ({status} {code})"
    return TransientError(message, retry_after_seconds=read_retry_after(error))
