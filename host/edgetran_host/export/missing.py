"""What an export lacks on this host, as opposed to what a model cannot be made into."""

from __future__ import annotations

from edgetran_protos.errors import ExportError


class MissingPackage(ExportError):
    """Its hint says how to install it; the same export works afterwards."""
