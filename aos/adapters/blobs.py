"""How does AOS keep blobs in Azure Storage?

`AzureBlobs` is one client for one account, kept open; `container()` gives the `BlobStore` of a
container. Time-outs are bounded and errors become ours: `BlobMissing`, `StaleWrite`
(a condition did not hold), `OutcomeUnknown` (a write without an answer), `TransientError` (the
rest: away, throttled, refused). The SDK is loaded by the first call, which costs about 0.6 s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.blobs import Blob, BlobInfo, BlobMissing, Unchanged

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 15
OPERATION_TIMEOUT_SECONDS = 30.0
LISTING_TIMEOUT_SECONDS = 60.0
READ_RETRIES = 2
LISTING_PAGE = 5000
PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobAccount:
    """Where the blobs are: a connection string, or an account reached by identity.

    By identity: `account_name` (setting suffix `__accountName`) or `service_url`
    (`__blobServiceUri`); `client_id` (`__clientId`) names a user-assigned identity.
    """

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    service_url: str | None = None
    client_id: str | None = None


class AzureBlobs:
    """The blobs of one storage account; one HTTP client for all its containers."""

    def __init__(self, account: BlobAccount) -> None:
        self._account = account
        self._client: BlobServiceClient | None = None
        self._containers: dict[str, ContainerClient] = {}
        self._credential: Any = None

    def container(self, name: str) -> AzureBlobStore:
        """The store of one container."""
        return AzureBlobStore(self, name)

    async def close(self) -> None:
        """Close the client; the next call opens another."""
        client, self._client = self._client, None
        self._containers = {}
        credential, self._credential = self._credential, None
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()

    def container_client(self, name: str) -> ContainerClient:
        """The SDK's client of a container; the first call opens the account."""
        if self._client is None:
            self._client = self._open()
        if name not in self._containers:
            self._containers[name] = self._client.get_container_client(name)
        return self._containers[name]

    def _open(self) -> BlobServiceClient:
        from urllib.request import getproxies

        from azure.storage.blob.aio import BlobServiceClient, LinearRetry

        account = self._account
        options: dict[str, Any] = {
            "connection_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "retry_policy": LinearRetry(backoff=1, random_jitter_range=1, retry_total=READ_RETRIES),
            # What is larger goes out in pieces, so that the event loop has its turns between.
            "max_single_put_size": PIECE_BYTES,
            "max_block_size": PIECE_BYTES,
            # Looking for a proxy and a .netrc costs each call two hops to another thread.
            "use_env_settings": bool(getproxies()),
        }
        if account.connection_string:
            return BlobServiceClient.from_connection_string(account.connection_string, **options)
        from azure.identity.aio import DefaultAzureCredential

        url = account.service_url or f"https://{account.account_name}.blob.core.windows.net"
        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return BlobServiceClient(url, credential=self._credential, **options)


class AzureBlobStore:
    """One container in Azure Storage: a `BlobStore`."""

    def __init__(self, blobs: AzureBlobs, name: str) -> None:
        self._blobs = blobs
        self._name = name
        self._client: ContainerClient | None = None

    async def create_if_missing(self) -> None:
        """Create the container (the laptop; in Azure the deployment has made it)."""
        with contextlib.suppress(StaleWrite):
            async with _translated("the container", self._name):
                await self._container().create_container()

    async def list(self, prefix: str) -> list[BlobInfo]:
        """Every blob whose name begins with `prefix`, complete, by name."""
        found: list[BlobInfo] = []
        async with _translated(prefix, self._name, timeout_seconds=LISTING_TIMEOUT_SECONDS):
            pages = self._container().list_blobs(
                name_starts_with=prefix, results_per_page=LISTING_PAGE
            )
            async for blob in pages:
                found.append(
                    BlobInfo(
                        name=blob.name,
                        etag=_etag(blob.etag),
                        size=blob.size,
                        last_modified=blob.last_modified,
                    )
                )
        return found

    async def read(self, name: str, *, max_bytes: int | None = None) -> Blob:
        """The blob, or its first `max_bytes` bytes. Raises BlobMissing."""
        if max_bytes is None:
            return await self._download(name)
        try:
            return await self._download(name, offset=0, length=max_bytes)
        except _EmptyRange:  # storage refuses every range of an empty blob
            return await self._download(name)

    async def read_if_changed(self, name: str, *, etag: str) -> Blob | Unchanged:
        """The blob, or Unchanged while it is at `etag`. Raises BlobMissing."""
        from azure.core import MatchConditions

        try:
            return await self._download(name, etag=etag, match_condition=MatchConditions.IfModified)
        except _NotModified:
            return Unchanged()

    async def _download(self, name: str, **options: Any) -> Blob:
        async with _translated(name, self._name):
            download = await self._container().download_blob(name, **options)
            body = await download.readall()
        return Blob(name=name, etag=_etag(download.properties.etag), body=body)

    async def write(
        self, name: str, body: bytes, *, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write the whole blob and return its new ETag. StaleWrite: a condition did not hold.

        A conditional write is never repeated by the SDK: after a lost answer the repetition
        would find its own write and call it stale.
        """
        options: dict[str, Any] = {"overwrite": not create_only, **_if_match(if_match)}
        if create_only or if_match is not None:
            options["retry_total"] = 0
        try:
            async with _translated(name, self._name, writing=True):
                blob = self._container().get_blob_client(name)
                content = _json_content(name)
                answer = await blob.upload_blob(body, content_settings=content, **options)
        except BlobMissing as error:  # If-Match on a blob that is not there
            raise StaleWrite(f"blob {name!r} does not exist any more") from error
        return _etag(answer["etag"])

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete the blob; an absent one is no error."""
        with contextlib.suppress(BlobMissing):
            async with _translated(name, self._name, writing=True):
                blob = self._container().get_blob_client(name)
                await blob.delete_blob(**_if_match(if_match))

    def _container(self) -> ContainerClient:
        return self._blobs.container_client(self._name)


class _NotModified(Exception):
    """The blob still has the ETag that was asked about."""


class _EmptyRange(Exception):
    """No byte of the blob lies in the range: it is empty."""


def _etag(raw: str) -> str:
    """ETags in one form: listings give them without quotes, answers with them."""
    return f'"{raw.strip(chr(34))}"'


def _if_match(etag: str | None) -> dict[str, Any]:
    from azure.core import MatchConditions

    if etag is None:
        return {}
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _json_content(name: str) -> Any:
    from azure.storage.blob import ContentSettings

    kind = "application/json" if name.endswith(".json") else "application/octet-stream"
    return ContentSettings(content_type=kind)


@contextlib.asynccontextmanager
async def _translated(
    name: str,
    container: str,
    *,
    writing: bool = False,
    timeout_seconds: float = OPERATION_TIMEOUT_SECONDS,
) -> AsyncIterator[None]:
    """Bound the time of a call and turn what goes wrong into our errors."""
    from azure.core.exceptions import AzureError, HttpResponseError

    unanswered = OutcomeUnknown if writing else TransientError
    what = f"blob {name!r} in container {container!r}"
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        raise unanswered(f"no answer within {timeout_seconds:g} s about {what}") from error
    except HttpResponseError as error:
        raise _http_error(error, name, what, writing=writing) from error
    except AzureError as error:
        message = f"storage gave no answer about {what}: {error.message}"
        raise unanswered(message) from error


def _http_error(error: HttpResponseError, name: str, what: str, *, writing: bool) -> Exception:
    """Our error for an answer of storage that is no success."""
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
        return StaleWrite(f"{what} was written by somebody else ({code})")
    if status in (401, 403):
        return TransientError(f"storage refused access to {what} ({code}); check the role or key")
    if writing and status >= 500 and status != 503:
        return OutcomeUnknown(f"storage failed on {what} ({status} {code})")
    message = f"storage failed on {what} ({status} {code})"
    return TransientError(message, retry_after_seconds=_retry_after(error))


def _retry_after(error: HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdigit() else None
