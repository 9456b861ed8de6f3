"""Upload an agent card as a blob, and say what became of it.

Needs a running AOS (`make run`) and `pip install azure-storage-blob`; the variable
AZURE_STORAGE_CONNECTION_STRING points elsewhere than to this machine.

    python examples/upload_card.py examples/cfo.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from aos.settings import LOCAL_STORAGE

WAIT_SECONDS = 30


def main() -> None:
    card = Path(sys.argv[1])
    connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING") or LOCAL_STORAGE
    with ContainerClient.from_connection_string(connection, "aos-config") as config:
        blob = config.upload_blob(f"agents/{card.name}", card.read_bytes(), overwrite=True)
        etag = blob.get_blob_properties().etag
        for _ in range(WAIT_SECONDS):
            status = read_status(config, card.name)
            if status.get("source_etag") == etag:
                print(json.dumps(status, indent=2))
                return
            time.sleep(1)
    raise SystemExit(f"no status within {WAIT_SECONDS} s: is main running?")


def read_status(config: ContainerClient, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(config.download_blob(f"status/agents/{name}").readall())
    except ResourceNotFoundError:
        return {}
    return found


if __name__ == "__main__":
    main()
