"""Our verifier says of a signature what OpenSSF's model-signing says, or is the stricter one."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgetran_host.signing import make_key
from edgetran_protos.signing import Signers

from tests.protos.signing.conftest import Specimen, ours, theirs, verdict

Spoil = Callable[[Specimen], object]


def flip(path: Path, at: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path, to: int) -> None:
    path.write_bytes(path.read_bytes()[:to])


def as_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def other_key(specimen: Specimen) -> None:
    specimen.trusted.unlink()
    make_key(specimen.key.with_name("other.pem"))
    specimen.key.with_name("other.pub").rename(specimen.trusted)


def larger_curve(specimen: Specimen) -> None:
    other_key(specimen)
    specimen.trusted.unlink()
    make_key(specimen.trusted.with_suffix(".pem").with_name("p384.pem"), "p384")
    specimen.key.with_name("p384.pub").rename(specimen.trusted)


def edit(*path: str, to: object) -> Spoil:
    """Sets a value in the signature's JSON."""

    def spoil(specimen: Specimen) -> None:
        raw = specimen.read()
        inner = raw
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = to
        specimen.write(raw)

    return spoil


def without(*path: str) -> Spoil:
    def spoil(specimen: Specimen) -> None:
        raw = specimen.read()
        inner = raw
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        specimen.write(raw)

    return spoil


def signatures(how: Callable[[list[Any]], list[Any]]) -> Spoil:
    def spoil(specimen: Specimen) -> None:
        raw = specimen.read()
        raw["dsseEnvelope"]["signatures"] = how(raw["dsseEnvelope"]["signatures"])
        specimen.write(raw)

    return spoil


def stated(how: Callable[[Any], object], root: bool = True) -> Spoil:
    """The rightful key signs another statement."""
    return lambda specimen: specimen.change(how, root=root)


def resources(raw: Any) -> Any:
    return raw["predicate"]["resources"]


def rename_resource(raw: Any, how: Callable[[str], str]) -> None:
    resources(raw)[0]["name"] = how(resources(raw)[0]["name"])


def redigest(raw: Any, how: Callable[[str], str]) -> None:
    resources(raw)[0]["digest"] = how(resources(raw)[0]["digest"])


def twice(raw: Any, digest: str | None = None, first: bool = False) -> None:
    entry = dict(resources(raw)[0])
    entry["digest"] = digest or entry["digest"]
    resources(raw).insert(0 if first else len(resources(raw)), entry)


GARBAGE = {"sig": base64.b64encode(b"garbage").decode(), "keyid": ""}
ZEROS = "0" * 64
MATERIAL = "verificationMaterial"

GOOD: dict[str, Spoil] = {
    "as it was signed": lambda s: None,
    "JSON laid out otherwise": lambda s: s.signature.write_text(json.dumps(s.read(), indent=3)),
    "the folder has another name": lambda s: None,
    "an empty folder more": lambda s: (s.folder / "empty").mkdir(),
    "more among the signatures": lambda s: (s.folder / "signatures" / "x.sig").write_text("x"),
    "another index": lambda s: (s.folder / "index.json").write_text("{}"),
    "no oci-layout": lambda s: (s.folder / "oci-layout").unlink(),
    "a .gitignore": lambda s: (s.folder / ".gitignore").write_text("*"),
    "no hint of the key": without(MATERIAL, "publicKey", "hint"),
    "a hint that is null": edit(MATERIAL, "publicKey", "hint", to=None),
    "details of the key": edit(MATERIAL, "publicKey", "keyDetails", to="PKIX_ECDSA_P256_SHA_256"),
    "no log entries": without(MATERIAL, "tlogEntries"),
    "a key id": signatures(lambda found: [{**found[0], "keyid": "me"}]),
    "no key id": signatures(lambda found: [{"sig": found[0]["sig"]}]),
    "garbage after the signature": signatures(lambda found: [*found, GARBAGE]),
    "a file named twice alike": stated(twice),
    "a file named twice, rightly the second time": stated(lambda raw: twice(raw, ZEROS, True)),
    "a path with ./": stated(lambda raw: rename_resource(raw, lambda name: f"./{name}")),
    "a path with //": stated(
        lambda raw: rename_resource(raw, lambda name: name.replace("/", "//", 1))
    ),
    "capital digits": stated(lambda raw: redigest(raw, str.upper)),
    "links allowed, none there": stated(
        lambda raw: raw["predicate"]["serialization"].update(allow_symlinks=True)
    ),
    "a new field in the predicate": stated(lambda raw: raw["predicate"].update(later=1)),
    "another name of the model": stated(lambda raw: raw["subject"][0].update(name="x")),
    "files in another order": stated(lambda raw: resources(raw).reverse()),
    "an ignored file that is there": lambda s: (
        (s.folder / "notes").write_text("x"),
        s.change(lambda raw: raw["predicate"]["serialization"]["ignore_paths"].append("notes")),
    ),
    "an ignored folder that is there": lambda s: (
        (s.folder / "notes" / "deep").mkdir(parents=True),
        (s.folder / "notes" / "deep" / "x").write_text("x"),
        s.change(lambda raw: raw["predicate"]["serialization"]["ignore_paths"].append("notes/")),
    ),
}

BAD: dict[str, Spoil] = {
    "another key": other_key,
    "a key of another curve": larger_curve,
    "a changed byte": lambda s: flip(s.blobs()[0]),
    "a changed last byte": lambda s: flip(s.blobs()[-1], -1),
    "a file cut short": lambda s: cut(s.blobs()[1], 3),
    "an emptied file": lambda s: cut(s.blobs()[0], 0),
    "a longer file": lambda s: s.blobs()[0].write_bytes(s.blobs()[0].read_bytes() + b"\n"),
    "a file gone": lambda s: s.blobs()[2].unlink(),
    "all files gone": lambda s: shutil.rmtree(s.folder / "blobs"),
    "a file renamed": lambda s: s.blobs()[0].rename(s.folder / "blobs" / "sha256" / ZEROS),
    "two files exchanged": lambda s: (
        (one := s.blobs()[0]).rename(s.folder / "x"),
        (two := s.blobs()[1]).rename(one) and (s.folder / "x").rename(two),
    ),
    "a file duplicated": lambda s: shutil.copy(s.blobs()[0], s.folder / "blobs" / "again"),
    "a file more": lambda s: (s.folder / "extra").write_text("x"),
    "an empty file more": lambda s: (s.folder / "blobs" / "sha256" / "x").touch(),
    "a hidden file more": lambda s: (s.folder / ".hidden").write_text("x"),
    "a file more, deep": lambda s: (
        (s.folder / "a" / "b").mkdir(parents=True),
        (s.folder / "a" / "b" / "c").write_text("x"),
    ),
    "a link to the same bytes": lambda s: as_link(s.blobs()[0]),
    "a link that leads nowhere": lambda s: (s.folder / "link").symlink_to("nowhere"),
    "a link to a folder": lambda s: (s.folder / "link").symlink_to(s.folder / "blobs"),
    "a link among what is ignored": lambda s: (s.folder / "signatures" / "l").symlink_to("x"),
    "the folder is a link": lambda s: as_link(s.folder),
    "a pipe": lambda s: os.mkfifo(s.folder / "pipe"),
    "no signature": lambda s: s.signature.write_text(""),
    "half a signature": lambda s: cut(s.signature, 700),
    "a signature without its end": lambda s: cut(s.signature, s.signature.stat().st_size - 1),
    "no UTF-8": lambda s: s.signature.write_bytes(b"\xff" + s.signature.read_bytes()),
    "a list": lambda s: s.signature.write_text("[]"),
    "an empty object": lambda s: s.signature.write_text("{}"),
    "a null": lambda s: s.signature.write_text("null"),
    "deep nesting": lambda s: s.signature.write_text("[" * 100_000),
    "another hint": edit(MATERIAL, "publicKey", "hint", to=ZEROS),
    "a hint that is a number": edit(MATERIAL, "publicKey", "hint", to=3),
    "neither key nor certificate": without(MATERIAL, "publicKey"),
    "no material": without(MATERIAL),
    "certificates too": edit(MATERIAL, "x509CertificateChain", to={"certificates": []}),
    "an empty chain": lambda s: (
        without(MATERIAL, "publicKey")(s),
        edit(MATERIAL, "x509CertificateChain", to={"certificates": []})(s),
    ),
    "another media type": edit("mediaType", to="application/json"),
    "an older media type": edit(
        "mediaType", to="application/vnd.dev.sigstore.bundle+json;version=0.2"
    ),
    "another payload type": edit("dsseEnvelope", "payloadType", to="text/plain"),
    "a field that is unknown": edit("surprise", to=1),
    "an unknown field inside": edit("dsseEnvelope", "surprise", to=1),
    "no envelope": without("dsseEnvelope"),
    "log entries that are none": edit(MATERIAL, "tlogEntries", to=[{}]),
    "log entries that are no list": edit(MATERIAL, "tlogEntries", to=None),
    "a payload that is no base64": edit("dsseEnvelope", "payload", to="!"),
    "an empty payload": edit("dsseEnvelope", "payload", to=""),
    "a payload that is a number": edit("dsseEnvelope", "payload", to=1),
    "no signatures": signatures(lambda found: []),
    "garbage for a signature": signatures(lambda found: [GARBAGE]),
    "an empty value": signatures(lambda found: [{"sig": ""}]),
    "garbage before the signature": signatures(lambda found: [GARBAGE, *found]),
    "what follows is no signature": signatures(lambda found: [*found, 7]),
    "signed as another type": lambda s: s.sign_anew(json.dumps(s.payload()).encode(), b"text/x"),
    "a payload that is no JSON": lambda s: s.sign_anew(b"garbage"),
    "a payload that is a list": lambda s: s.sign_anew(b"[]"),
    "a file named twice, wrongly the second time": stated(lambda raw: twice(raw, ZEROS)),
    "a file left out": stated(lambda raw: resources(raw).pop()),
    "a file too many": stated(
        lambda raw: resources(raw).append({**resources(raw)[0], "name": "none"})
    ),
    "no files": stated(lambda raw: resources(raw).clear()),
    "a digest over all that is wrong": stated(
        lambda raw: raw["subject"][0]["digest"].update(sha256=ZEROS), root=False
    ),
    "two subjects": stated(lambda raw: raw["subject"].append(raw["subject"][0])),
    "no subject": stated(lambda raw: raw["subject"].clear(), root=False),
    "another statement": stated(lambda raw: raw.update(_type="https://in-toto.io/Statement/v0.1")),
    "another predicate": stated(lambda raw: raw.update(predicateType="https://slsa.dev/v1")),
    "another algorithm": stated(lambda raw: resources(raw)[0].update(algorithm="sha512")),
    "an unknown way of hashing": stated(
        lambda raw: raw["predicate"]["serialization"].update(hash_type="md5")
    ),
    "an unknown way of listing": stated(
        lambda raw: raw["predicate"]["serialization"].update(method="rows")
    ),
    "nothing said of links": stated(
        lambda raw: raw["predicate"]["serialization"].pop("allow_symlinks")
    ),
    "links allowed, one there": lambda s: (
        as_link(s.blobs()[0]),
        s.change(lambda raw: raw["predicate"]["serialization"].update(allow_symlinks=True)),
    ),
    "a path above": stated(lambda raw: rename_resource(raw, lambda name: f"../{name}")),
    "a digest that is no hex": lambda s: s.change(
        lambda raw: redigest(raw, lambda digest: "xyz"), root=False
    ),
}

STRICTER: dict[str, Spoil] = {  # what model-signing accepts and no board needs
    "the encoding of versions before 1.0": lambda s: s.write_over(
        s.read(),
        payload := json.dumps(s.payload()).encode(),
        f"DSSEV1 28 application/vnd.in-toto+json {len(payload)} {payload!r}".encode(),
    ),
    "other names of fields": lambda s: s.signature.write_text(
        s.signature.read_text().replace('"mediaType"', '"media_type"')
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_both_accept(case: str, specimen: Specimen) -> None:
    GOOD[case](specimen)
    assert verdict(specimen)


@pytest.mark.parametrize("case", BAD)
def test_both_refuse(case: str, specimen: Specimen) -> None:
    BAD[case](specimen)
    assert not verdict(specimen)


@pytest.mark.parametrize("case", STRICTER)
def test_ours_alone_refuses(case: str, specimen: Specimen) -> None:
    STRICTER[case](specimen)
    assert theirs(specimen)
    assert not ours(specimen)


def test_other_digests_are_for_hosts(specimen: Specimen) -> None:
    """Signed by their own tool, with digests that ours does not compute."""
    from model_signing import hashing, signing

    config = hashing.Config().use_file_serialization(hashing_algorithm="blake3")
    config.set_ignored_paths(paths=["signatures", "index.json", "oci-layout"])
    signer = signing.Config().use_elliptic_key_signer(private_key=specimen.key)
    signer.set_hashing_config(config).sign(specimen.folder, specimen.signature)
    assert theirs(specimen)
    assert not ours(specimen)


def test_changed_bytes_anywhere_in_the_signature(specimen: Specimen) -> None:
    """Fixed draws: both say the same, and what is accepted vouches for the same files."""
    good, rng, accepted = specimen.signature.read_bytes(), random.Random(8), 0
    signers = Signers.of(specimen.trusted)
    signed = signers.verify(good)
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 1, 4))):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(2)] = bytes([rng.choice(b'"{}:,[]0aZ+/= \x00\xc3')])
        specimen.signature.write_bytes(data)
        if verdict(specimen):
            assert signers.verify(bytes(data)) == signed
            accepted += 1
    assert 0 < accepted < 75
