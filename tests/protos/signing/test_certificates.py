"""Chains of certificates: ours reads them as OpenSSL does for model-signing."""

from __future__ import annotations

import base64
import datetime
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from edgetran_host.signing import sign
from edgetran_protos.errors import BundleUntrusted, EdgeTranError, UsageError
from edgetran_protos.signing import Signers

from tests.protos.signing.conftest import Specimen, verdict

SIGNED = datetime.datetime(2026, 5, 1)  # when the signers' certificates begin
AGES = (datetime.datetime(2020, 1, 1), datetime.datetime(2040, 1, 1))
PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Party:
    key: Any
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)


def usage(**asked: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: asked.get(name, False) for name in names.split()})


SIGNS = (usage(digital_signature=True), True)
SIGNS_CERTIFICATES = (usage(key_cert_sign=True), True)
IS_CA = (x509.BasicConstraints(ca=True, path_length=None), True)
IS_NO_CA = (x509.BasicConstraints(ca=False, path_length=None), True)
CODE = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
SERVER = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
ODD = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.9.9"), b"x"), True)


def party(
    name: str,
    issuer: Party | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    *,
    valid: tuple[datetime.datetime, datetime.datetime] = AGES,
    key: Any = None,
    digest: Any = None,
) -> Party:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = issuer.key if issuer else key
    made = None if isinstance(signer, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return Party(key, builder.sign(signer, made))


def root(name: str = "root", *extensions: tuple[x509.ExtensionType, bool], **how: Any) -> Party:
    return party(name, None, extensions or (IS_CA, SIGNS_CERTIFICATES), **how)


def between(issuer: Party, *extensions: tuple[x509.ExtensionType, bool], **how: Any) -> Party:
    name = how.pop("name", "between")
    return party(name, issuer, extensions or (IS_CA, SIGNS_CERTIFICATES), **how)


def alice(issuer: Party | None, *extensions: tuple[x509.ExtensionType, bool], **how: Any) -> Party:
    return party("alice", issuer, extensions or (SIGNS,), valid=how.pop("valid", FROM_MAY), **how)


FROM_MAY = (SIGNED, datetime.datetime(2039, 1, 1))
ONE_DAY = (SIGNED, SIGNED + datetime.timedelta(days=1))
UNTIL_APRIL = (AGES[0], datetime.datetime(2026, 4, 1))
FROM_JUNE = (datetime.datetime(2026, 6, 1), AGES[1])
Chain = tuple[Party, Sequence[Party], Sequence[Party]]  # signer, sent along, trusted


def plain() -> Chain:
    top = root()
    middle = between(top)
    return alice(middle), [middle], [top]


def direct(**how: Any) -> Callable[[], Chain]:
    def made() -> Chain:
        top = root("root", *how.get("root", ()), **how.get("root_how", {}))
        return alice(top, *how.get("leaf", ()), **how.get("leaf_how", {})), [], [top]

    return made


def through(*extensions: tuple[x509.ExtensionType, bool], **how: Any) -> Callable[[], Chain]:
    def made() -> Chain:
        top = root()
        middle = between(top, *extensions, **how)
        return alice(middle), [middle], [top]

    return made


def long(path_length: int | None, steps: int) -> Callable[[], Chain]:
    def made() -> Chain:
        top = last = root("root", (x509.BasicConstraints(True, path_length), True))
        sent = []
        for step in range(steps):
            last = between(last, name=f"step {step}")
            sent.insert(0, last)
        return alice(last), sent, [top]

    return made


def other_root() -> Chain:
    signer, sent, _ = plain()
    return signer, sent, [root("another")]


def same_name_other_key() -> Chain:
    signer, sent, _ = plain()
    return signer, sent, [root()]


def forged() -> Chain:
    """Issued in the name of a trusted authority by somebody else's key."""
    top = root()
    return alice(Party(ec.generate_private_key(ec.SECP256R1()), top.certificate)), [], [top]


def root_sent_along() -> Chain:
    top = root()
    middle = between(top)
    return alice(middle), [middle, top], [root("another")]


def middle_missing() -> Chain:
    signer, _, trusted = plain()
    return signer, [], trusted


def middle_trusted_instead() -> Chain:
    top = root()
    middle = between(top)
    return alice(middle), [], [middle]


def middle_trusted_too() -> Chain:
    top = root()
    middle = between(top)
    return alice(middle), [], [middle, top]


def unsorted() -> Chain:
    top = root()
    upper = between(top, name="upper")
    lower = between(upper, name="lower")
    return alice(lower), [upper, lower], [root("another"), top]


def self_signed(trusted: bool) -> Callable[[], Chain]:
    def made() -> Chain:
        signer = alice(None)
        return signer, [], [signer if trusted else root()]

    return made


def cousin() -> Chain:
    """A signer's own certificate, which is no CA, vouches for another."""
    top = root()
    bob = party("bob", top, (SIGNS,))
    return alice(bob), [bob], [top]


GOOD: dict[str, Callable[[], Chain]] = {
    "one between": plain,
    "the root itself": direct(),
    "for code": direct(leaf=(CODE,)),
    "for signing and servers": direct(leaf=(SIGNS, SERVER)),
    "expired since": direct(leaf_how={"valid": ONE_DAY}),
    "its root expired since": direct(root_how={"valid": (AGES[0], ONE_DAY[1])}),
    "a root without key usage": direct(root=(IS_CA,)),
    "an RSA root": direct(root_how={"key": rsa.generate_private_key(65537, 2048)}),
    "an Ed25519 root": direct(root_how={"key": ed25519.Ed25519PrivateKey.generate()}),
    "a signer of another curve": direct(leaf_how={"key": ec.generate_private_key(ec.SECP384R1())}),
    "steps as many as allowed": long(2, 2),
    "five steps": long(None, 5),
    "sent in another order": unsorted,
    "the one between is trusted, too": middle_trusted_too,
    "self-signed, and trusted": self_signed(True),
    "a signer that says it is no CA": direct(leaf=(SIGNS, IS_NO_CA)),
}

BAD: dict[str, Callable[[], Chain]] = {
    "another root": other_root,
    "another root of that name": same_name_other_key,
    "forged": forged,
    "brings its own root": root_sent_along,
    "a step is missing": middle_missing,
    "the one between is trusted, its root is not": middle_trusted_instead,
    "self-signed": self_signed(False),
    "vouched for by a signer": cousin,
    "for neither": direct(leaf=(IS_NO_CA,)),
    "for servers": direct(leaf=(SERVER,)),
    "for key agreement": direct(leaf=((usage(key_agreement=True), True),)),
    "its root expired before": direct(root_how={"valid": UNTIL_APRIL}),
    "its root begins later": direct(root_how={"valid": FROM_JUNE}),
    "the one between expired before": through(valid=UNTIL_APRIL),
    "the one between is no CA": through(IS_NO_CA),
    "the one between does not say": through(SIGNS_CERTIFICATES),
    "the one between may not sign certificates": through(IS_CA, SIGNS),
    "a step more than allowed": long(0, 1),
    "two steps more than allowed": long(1, 3),
    "a demand that nobody knows": direct(leaf=(SIGNS, ODD)),
    "such a demand of the one between": through(IS_CA, ODD),
    "an RSA signer": lambda: _rsa_signer(),
}


def _rsa_signer() -> Chain:
    """Its certificate holds an RSA key, the signature is of another."""
    top = root()
    holder = alice(top, key=rsa.generate_private_key(65537, 2048))
    return Party(ec.generate_private_key(ec.SECP256R1()), holder.certificate), [], [top]


def signed_with(specimen: Specimen, chain: Chain, home: Path) -> Specimen:
    """As their tool signs, but also what it would refuse to sign."""
    signer, sent, trusted = chain
    key = home / "signer.pem"
    forms = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(signer.key.private_bytes(PEM, *forms))
    fits = signer.certificate.public_key() == signer.key.public_key()
    own = home / "signer.crt"
    stand_in = signer if fits else Party(signer.key, alice(None, key=signer.key).certificate)
    own.write_bytes(stand_in.pem)
    others = []
    for number, one in enumerate(sent):
        others.append(home / f"{number}.crt")
        others[-1].write_bytes(one.pem)
    for old in (specimen.folder / "signatures").iterdir():
        old.unlink()
    sign(specimen.folder, key, certificate=own, chain=others)
    made = next((specimen.folder / "signatures").iterdir()).read_bytes()
    if not fits:
        made = made.replace(_base64(stand_in.certificate), _base64(signer.certificate))
    specimen.signature.write_bytes(made)
    specimen.trusted.write_bytes(b"".join(one.pem for one in trusted))
    return specimen


def _base64(certificate: x509.Certificate) -> bytes:
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("case", GOOD)
def test_both_accept(case: str, specimen: Specimen, tmp_path: Path) -> None:
    assert verdict(signed_with(specimen, GOOD[case](), tmp_path))


@pytest.mark.parametrize("case", BAD)
def test_both_refuse(case: str, specimen: Specimen, tmp_path: Path) -> None:
    assert not verdict(signed_with(specimen, BAD[case](), tmp_path))


@pytest.mark.filterwarnings("ignore")  # of what is odd in certificates that are
def test_changed_bytes_in_certificates() -> None:
    """Fixed draws: whatever reads them, one kind of error comes out."""
    rng, (signer, sent, trusted) = random.Random(1), plain()
    signers = Signers({}, [("root", trusted[0].certificate)], frozenset())
    good = [base64.b64decode(_base64(one.certificate)) for one in (signer, *sent)]
    for _ in range(600):
        chain = [bytearray(der) for der in good]
        for _ in range(rng.choice((1, 1, 2, 4))):
            der = rng.choice(chain)
            der[rng.randrange(len(der))] = rng.randrange(256)
        material = {"x509CertificateChain": {"certificates": [_raw(der) for der in chain]}}
        envelope = {
            "payload": "",
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": ""}],
        }
        raw = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        }
        with pytest.raises(BundleUntrusted):
            signers.verify(json.dumps(raw).encode())


def test_without_cryptography_it_says_what_is_missing(
    signed_once: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board may lack it; unsigned bundles need none of it."""
    signer, _, trusted = plain()
    raw = signed_once.read()
    chain = {"certificates": [_raw(base64.b64decode(_base64(signer.certificate)))]}
    raw["verificationMaterial"] = {"x509CertificateChain": chain}
    signers = Signers({}, [("root", trusted[0].certificate)], frozenset())
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match="cryptography"):
        signers.verify(json.dumps(raw).encode())
    with pytest.raises(EdgeTranError, match="cryptography"):
        Signers.of(signed_once.trusted)


def _raw(der: bytes | bytearray) -> dict[str, str]:
    return {"rawBytes": base64.b64encode(der).decode()}


def test_many_alike_cost_little(specimen: Specimen, tmp_path: Path) -> None:
    """Certificates that all vouch for each other, and lead nowhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    top = root("alike", key=key)
    ring = [between(top, name="alike", key=key, valid=(AGES[0], AGES[1])) for _ in range(7)]
    chain = alice(ring[0]), ring, [root("another")]
    assert not verdict(signed_with(specimen, chain, tmp_path))
