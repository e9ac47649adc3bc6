"""Loads and closes the model of a store, and prints what memory that took, in bytes.

python memory_of_a_model.py STATE
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import psutil
from edgetran_daemon.serving.served_model import ServedModel
from edgetran_daemon.store.blobs import BlobStore
from edgetran_daemon.store.bundles import BundleStore

ROUNDS = 3


async def main(state: Path) -> None:
    store = BundleStore(BlobStore(state, reserve_bytes=0))
    (digest,) = (d for d in store.blobs.digests() if len(store._named(d)) > 1)
    await loaded_and_closed(store, digest)  # what is imported and pooled on first use stays
    empty = resident_bytes()
    loaded = [await loaded_and_closed(store, digest) for _ in range(ROUNDS)]
    print(json.dumps({"empty": empty, "loaded": loaded, "closed": resident_bytes()}))


async def loaded_and_closed(store: BundleStore, digest: str) -> int:
    """Bytes while it was loaded."""
    bundle = store.open(digest)
    model = ServedModel(store, bundle, bundle.variant(""), threads=1)
    await model.start()
    await model.predict([("turn on the light",)])
    held = resident_bytes()
    await model.close()
    return held


def resident_bytes() -> int:
    """Of this process and all it started."""
    own = psutil.Process()
    return sum(one.memory_info().rss for one in [own, *own.children(recursive=True)])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
