"""Who signed a bundle: signatures of the OpenSSF model-signing format, verified offline."""

from edgetran_protos.signing.files import (
    FOLDER,
    IGNORED,
    SUFFIX,
    blob_files,
    files_of,
    is_signature,
    signatures_of,
)
from edgetran_protos.signing.signature import Signature, Signed
from edgetran_protos.signing.signers import SUFFIXES, Signer, Signers, fingerprint

__all__ = [
    "FOLDER",
    "IGNORED",
    "SUFFIX",
    "SUFFIXES",
    "Signature",
    "Signed",
    "Signer",
    "Signers",
    "blob_files",
    "files_of",
    "fingerprint",
    "is_signature",
    "signatures_of",
]
