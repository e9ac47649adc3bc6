"""Who signed a bundle: signatures of the OpenSSF model-signing format, verified offline."""

from edgetran_protos.signing.files import (
    FOLDER,
    IGNORED,
    MOST_SIGNATURES,
    SUFFIX,
    blob_files,
    files_of,
    is_signature,
    signatures_of,
)
from edgetran_protos.signing.signature import Signature, Signed
from edgetran_protos.signing.signers import (
    REVOKED,
    SUFFIXES,
    Signer,
    Signers,
    entries,
    fingerprint,
    read_signers,
)

__all__ = [
    "FOLDER",
    "IGNORED",
    "MOST_SIGNATURES",
    "REVOKED",
    "SUFFIX",
    "SUFFIXES",
    "Signature",
    "Signed",
    "Signer",
    "Signers",
    "blob_files",
    "entries",
    "files_of",
    "fingerprint",
    "is_signature",
    "read_signers",
    "signatures_of",
]
