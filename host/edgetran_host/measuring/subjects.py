"""What is measured: a bundle, the one of a run, or a bare graph put into one for the visit."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edgetran_protos.bundle import Bundle
from edgetran_protos.errors import UsageError

RECORDS = Path("records")
BUNDLE_OF_A_RUN = "bundle.tar"


@contextmanager
def subject(bundle: Path | None, model: Path | None, length: int) -> Iterator[Bundle]:
    """Raises UsageError, BundleError, ExportError."""
    if (bundle is None) == (model is None):
        raise UsageError(
            "what is to be measured is not clear", hint="give either --bundle or --model"
        )
    if bundle is not None:
        inside = bundle / BUNDLE_OF_A_RUN
        yield Bundle.open(inside if inside.exists() else bundle)
        return
    assert model is not None
    from edgetran_host.measuring.bare_graph import bundle_of_graph

    with tempfile.TemporaryDirectory(prefix="edgetran-") as folder:
        yield bundle_of_graph(model, Path(folder) / "bundle.tar", length)


def new_directory(name: str, target: str) -> Path:
    """records/<name>-<target>-<moment>."""
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{target}").strip("-")
    return RECORDS / f"{words}-{now}"
