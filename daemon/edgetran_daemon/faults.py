"""The named places where state changes on disk, so that a test can end the daemon at each.

Only a daemon that finds EDGETRAN_FAULT_FILE in its environment looks any further: at the
point whose name that file holds, it kills itself, without a chance to tidy up.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

VARIABLE = "EDGETRAN_FAULT_FILE"

POINTS = {  # name -> what has just happened
    "lock-emptied": "the lock is held, the process number in it not yet written",
    "blob-opened": "the file of an arriving blob is there, cut at the offset",
    "blob-chunk": "a chunk of a blob is written, others are to come",
    "blob-synced": "a whole blob is on disk under its partial name",
    "blob-renamed": "it has its final name, which a power cut may still undo",
    "blob-kept": "its final name is on disk",
    "blob-removed": "one of several blobs that go is gone",
    "signature-opened": "as for the ledger, of a signature beside its bundle's manifest",
    "signature-synced": "",
    "signature-renamed": "",
    "signature-kept": "",
    "partial-removed": "a transfer that nobody resumed, or whose bytes were wrong, is gone",
    "ledger-opened": "the next version of the ledger is an empty file",
    "ledger-synced": "the next version is on disk under its partial name",
    "ledger-renamed": "it has the ledger's name, which a power cut may still undo",
    "ledger-kept": "that name is on disk",
    "lease-opened": "as for the ledger, of the file with the last lease's token",
    "lease-synced": "",
    "lease-renamed": "",
    "lease-kept": "",
    "ready-opened": "as for the ledger, of the file that says where the daemon serves",
    "ready-synced": "",
    "ready-renamed": "",
    "ready-kept": "",
    "trust-opened": "as for the ledger, of the file that says who is trusted",
    "trust-synced": "",
    "trust-renamed": "",
    "trust-kept": "",
    "certificate-opened": "as for the ledger, of each of the board's own keys and certificates",
    "certificate-synced": "",
    "certificate-renamed": "",
    "certificate-kept": "",
    "stage-loaded": "the new model's worker runs beside the old one's",
    "probe-passed": "it gave the golden answers",
    "canary-passed": "it did as promised beside the old one",
    "switch-written": "the ledger names the new model, the old one still answers",
    "switch-made": "the new model answers, the client has not heard of it",
    "deploy-collected": "what no deployment names was freed",
    "watch-ended": "the new model is to be committed, or to go",
    "rollback-written": "the ledger names the old model, the new one still answers",
    "remove-written": "the ledger has forgotten a model whose blobs are all there",
}

_file = os.environ.get(VARIABLE, "")


def point(name: str) -> None:
    if name not in POINTS:
        raise KeyError(f"{name} is not among faults.POINTS")
    if _file and _armed() == name:
        os.kill(os.getpid(), signal.SIGKILL)


def _armed() -> str:
    try:
        return Path(_file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
