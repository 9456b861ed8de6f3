"""Upload an agent card as a blob, and say what became of it.

Needs a running AOS (`make run`) and `pip install azure-storage-blob`; the variable
AZURE_STORAGE_CONNECTION_STRING points elsewhere. python examples/upload_card.py examples/cfo.json
"""

import json
import os
import sys
import time
from pathlib import Path

from azure.storage.blob import ContainerClient

from aos.settings import LOCAL_STORAGE

card = Path(sys.argv[1])
connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING") or LOCAL_STORAGE
with ContainerClient.from_connection_string(connection, "aos-config") as config:
    blob = config.upload_blob(f"agents/{card.name}", card.read_bytes(), overwrite=True)
    etag = blob.get_blob_properties().etag
    answer = config.get_blob_client(f"status/agents/{card.name}")
    for _ in range(30):
        status = json.loads(answer.download_blob().readall()) if answer.exists() else {}
        if status.get("source_etag") == etag:
            print(json.dumps(status, indent=2))
            sys.exit()
        time.sleep(1)
sys.exit("no status within 30 s: is main running?")
