"""From a signer's certificate to a root that is trusted, by the rules model-signing applies.

These are OpenSSL's for a path without a purpose, at the moment when the signer's certificate
became valid: boards often have no clock, and a certificate that has expired since was good when it
signed. What is rare (names that a CA may vouch for, policies) is not understood here and refused.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, List, Sequence, Set

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MOST_STEPS = 8
WEAK = ("md5", "sha1")


def path_to_root(
    leaf: Certificate, others: Sequence[Certificate], trusted: Sequence[Certificate]
) -> List[Certificate]:
    """From the leaf to the root. others: sent along, trusted by nobody. Raises ValueError."""
    when = leaf.not_valid_before_utc
    seen: Set[bytes] = set()

    def climb(path: List[Certificate]) -> List[Certificate]:
        last = path[-1]
        if issued(last, last):
            return path if last in trusted else []
        for issuer in [*trusted, *others] if len(path) <= MOST_STEPS else []:
            known = issuer.tbs_certificate_bytes
            if known in seen or not issued(last, issuer) or not may_issue(issuer, path, when):
                continue
            seen.add(known)  # each is tried once: many alike must not cost many tries
            found = climb([*path, issuer])
            if found:
                return found
        return []

    if not sound(leaf, when):
        raise ValueError("the signer's certificate demands what is not understood here")
    found = climb([leaf])
    if not found:
        raise ValueError("no way leads from the signer's certificate to a root that is trusted")
    if not may_sign(leaf):
        raise ValueError("the signer's certificate is for neither digitalSignature nor codeSigning")
    return found


def issued(child: Certificate, issuer: Certificate) -> bool:
    """Whether the names fit and the issuer's key signed the child."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    if child.issuer != issuer.subject or not _same_key_named(child, issuer):
        return False
    try:
        child.verify_directly_issued_by(issuer)
        algorithm = child.signature_hash_algorithm
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return algorithm is None or algorithm.name not in WEAK  # none: Ed25519 hashes by itself


def may_issue(issuer: Certificate, below: Sequence[Certificate], when: datetime.datetime) -> bool:
    from cryptography import x509

    if not sound(issuer, when):
        return False
    try:
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    between = sum(one.subject != one.issuer for one in below[1:])
    if not basic.ca or (basic.path_length is not None and between > basic.path_length):
        return False
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.key_cert_sign


def sound(certificate: Certificate, when: datetime.datetime) -> bool:
    """Whether it is valid at that moment, and demands nothing that is not understood here."""
    from cryptography import x509

    known = {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
    }
    odd = {x509.NameConstraints.oid, x509.PolicyConstraints.oid, x509.InhibitAnyPolicy.oid}
    try:
        extensions = list(certificate.extensions)
    except (ValueError, TypeError, x509.DuplicateExtension):
        return False
    if any(one.oid in odd or (one.critical and one.oid not in known) for one in extensions):
        return False
    return certificate.not_valid_before_utc <= when <= certificate.not_valid_after_utc


def may_sign(leaf: Certificate) -> bool:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    for extension in leaf.extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage) and value.digital_signature:
            return True
        if isinstance(value, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING in value:
            return True
    return False


def _same_key_named(child: Certificate, issuer: Certificate) -> bool:
    """Where both say which key it is, they must agree."""
    from cryptography import x509

    try:
        wanted = child.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        has = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        return True
    return wanted.key_identifier is None or wanted.key_identifier == has.digest
