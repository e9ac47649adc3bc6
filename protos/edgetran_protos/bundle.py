"""The bundle: one model for one task, as an OCI image layout.

A bundle is a directory (or a .tar of it) with `oci-layout`, `index.json` and
`blobs/sha256/<hex>`. The OCI manifest lists the blobs with ModelPack media
types; the blob of type MEDIA_CARD is ours: the `BundleCard`, which says what the
model does, in which variants (runtime x precision) it comes, and which golden
rows a board must reproduce before it serves. Everything is JSON or raw bytes;
nothing here executes data.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edgetran_protos.errors import BundleCorrupt, BundleError, UnknownVariant, UsageError
from edgetran_protos.layout import UNREADABLE, Layout, write_layout
from edgetran_protos.plain import build, strict_json

CARD_SCHEMA = 3  # 1: one tolerance for all variants, no accuracy costs; 2: claims without protocol
CARD_MINOR = 0  # grows with additions that a reader of the same schema may pass over
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
MEDIA_CONFIG = "application/vnd.cncf.model.config.v1+json"
MEDIA_WEIGHTS = "application/vnd.cncf.model.weight.v1.raw"
MEDIA_WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
MEDIA_CARD = "application/vnd.edgetran.bundle.v1+json"
MEDIA_DOC = "application/vnd.cncf.model.doc.v1.raw"
MEDIA_SBOM = "application/vnd.cyclonedx+json"
MEDIA_PROVENANCE = "application/vnd.in-toto+json"
CARD_FILE = "edgetran.json"
FILE_ANNOTATION = "org.cncf.model.filepath"
ANNOTATION = "org.opencontainers.image"
FORMATS = {"openvino": "openvino", "litert": "tflite"}  # runtime -> its graphs' form; else ONNX
CHUNK_BYTES = 1 << 20
MAX_SEQUENCE_LENGTH = 1 << 15
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
MODEL_NAME_LENGTH = 100
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # what a model serves under


@dataclass(frozen=True)
class Work:
    """What one inference at batch 1 costs, counted on the exported graph."""

    matmul_flops: float  # float multiply-adds count as two
    int8_ops: float  # the same for 8-bit matrix products
    elementwise_bytes: float  # activations read and written by everything else
    weight_bytes: float  # initializers read once an inference
    embedding_bytes: float  # tables of which only the looked-up rows are read
    kernel_launches: int  # nodes that run


@dataclass(frozen=True)
class Variant:
    """One executable form of the model."""

    name: str  # e.g. "onnxruntime-int8"
    runtime: str  # e.g. "onnxruntime"
    precision: str  # "fp32", "int8"
    digest: str  # blob of the graph
    size_bytes: int
    work: Work
    max_abs_error: float  # against the trained model, on the golden rows
    accuracy_cost: Optional[float] = None  # lost against the trained model; None: not scored


@dataclass(frozen=True)
class Golden:
    """Rows a board must reproduce before it serves: texts, tokens, logits a variant."""

    texts: List[List[str]]  # one or two strings a row
    input_ids: List[List[int]]  # (rows, sequence_length)
    attention_mask: List[List[int]]
    token_type_ids: List[List[int]]
    logits: Mapping[str, List[List[float]]]  # variant name -> (rows, outputs)
    tolerance: float  # largest absolute difference the probe accepts, where none is below
    tolerances: Mapping[str, float] = field(default_factory=dict)  # variant name -> the same

    def accepted(self, variant: str) -> float:
        """The largest absolute difference that the probe accepts of a variant."""
        return self.tolerances.get(variant, self.tolerance)


@dataclass(frozen=True)
class Claim:
    """One promise: what, how much, how sure, and whether it was measured."""

    metric: str  # "accuracy", "latency_p50_s", "energy_j", ...
    value: float
    low: Optional[float]
    high: Optional[float]
    measured: bool  # False: modelled
    board: str
    variant: str
    level: Optional[float] = None  # of the interval, 0.95 as a rule; None: there is none
    protocol: str = ""  # how it was found, e.g. "edgetran.measurement/1"; empty: not said


@dataclass(frozen=True)
class BundleCard:
    """What the board has to know to serve, probe and judge the model."""

    name: str
    task: str  # "classification" or "regression"
    labels: List[str]  # empty for regression
    sequence_length: int  # L, frozen in the graph
    tokenizer_digest: str  # tokenizer.json
    architecture: Mapping[str, Any]
    architecture_id: str
    variants: List[Variant]
    golden: Golden
    claims: List[Claim] = field(default_factory=list)
    licence: str = ""
    sequence: int = 0  # grows from release to release; 0: no order among them
    max_accuracy_cost: Optional[float] = None  # of a variant that a board may choose by itself
    schema: int = CARD_SCHEMA
    minor: int = CARD_MINOR

    def variant(self, name: str) -> Variant:
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(v.name for v in self.variants)
        raise UnknownVariant(f"bundle {self.name} has no variant {name!r}", hint=f"it has: {names}")

    def to_json(self) -> bytes:
        return canonical_json(asdict(self))

    @staticmethod
    def from_json(data: bytes) -> "BundleCard":
        """Raises BundleError when the card is not one this version reads."""
        try:
            raw = strict_json(data)
            if raw["schema"] > CARD_SCHEMA:
                raise BundleError(
                    f"the bundle's card has schema {raw['schema']}, this edgetran reads up to"
                    f" {CARD_SCHEMA}",
                    hint="upgrade edgetran there (on a board: edgetran-daemon), or pack the model"
                    " with an edgetran as old as that one",
                )
            newer = raw["schema"] == CARD_SCHEMA and raw.get("minor", 0) > CARD_MINOR
            card = build(BundleCard, raw, "card", pass_over=newer)
            _check_golden(card)
            return card
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise BundleError(
                f"the bundle's card is malformed: {exc}", hint="pack or send the bundle again"
            ) from exc


def _check_golden(card: BundleCard) -> None:
    """Raises ValueError."""
    if not 1 <= card.sequence_length <= MAX_SEQUENCE_LENGTH:
        raise ValueError(f"the sequence length is {card.sequence_length}")
    golden = card.golden
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        rows = getattr(golden, name)
        if len(rows) != len(golden.texts):
            raise ValueError(f"golden.{name} has {len(rows)} rows, texts {len(golden.texts)}")
        if any(len(row) != card.sequence_length for row in rows):
            raise ValueError(f"golden.{name} has rows of another length than the graph's")
    if any(len(row) not in (1, 2) for row in golden.texts):
        raise ValueError("golden.texts has rows that are neither one text nor two")


@dataclass(frozen=True)
class Blob:
    digest: str  # "sha256:<hex>"
    size_bytes: int
    media_type: str
    file: str  # the name a person would give it


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_digest_name(digest: str) -> str:
    """The hex part of a digest; refuses anything that could be a path."""
    algorithm, _, hexes = digest.partition(":")
    if algorithm != "sha256" or len(hexes) != 64 or set(hexes) - set("0123456789abcdef"):
        raise BundleError(
            f"{digest!r} is not a sha256 digest",
            hint='"sha256:" and 64 hexadecimal digits, as a bundle and a deployment tell theirs',
        )
    return hexes


def check_model_name(name: str) -> str:
    """The name, if a board can serve a model under it. Raises UsageError."""
    if not MODEL_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a model's name",
            hint="letters, digits, '.', '_' and '-', at most 100, the first a letter or a digit",
        )
    return name


def model_name(text: str) -> str:
    """The nearest name that a board accepts."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:MODEL_NAME_LENGTH]
    return kept or "model"


def parse_oci_manifest(data: bytes) -> Tuple[Blob, ...]:
    """The blobs an OCI manifest names, its config first. Raises BundleError."""
    try:
        manifest = json.loads(data)
        found = []
        for entry in [manifest["config"], *manifest["layers"]]:
            check_digest_name(entry["digest"])
            found.append(
                Blob(
                    digest=entry["digest"],
                    size_bytes=int(entry["size"]),
                    media_type=str(entry["mediaType"]),
                    file=str(entry.get("annotations", {}).get(FILE_ANNOTATION, "")),
                )
            )
    except MALFORMED as exc:
        raise BundleError(f"the OCI manifest is malformed: {exc}") from exc
    return tuple(found)


def card_digest(blobs: Tuple[Blob, ...]) -> str:
    for blob in blobs:
        if blob.media_type == MEDIA_CARD:
            return blob.digest
    raise BundleError(
        "the manifest names no edgetran card", hint="it was not made by edgetran, or not for it"
    )


class Bundle:
    """A bundle on this machine, read from a directory or a .tar."""

    def __init__(self, path: Path, manifest_digest: str, reader: Layout) -> None:
        self.path = path
        self.digest = manifest_digest
        self._reader = reader
        self.manifest = self.read(manifest_digest)
        self.blobs = parse_oci_manifest(self.manifest)
        self.card = BundleCard.from_json(self.read(card_digest(self.blobs)))

    @staticmethod
    def open(path: Path) -> "Bundle":
        """Raises BundleError when `path` is no bundle, BundleCorrupt on wrong bytes."""
        reader = Layout(Path(path))
        try:
            index = json.loads(reader.read("index.json"))
            digest = str(index["manifests"][0]["digest"])
        except (IndexError, *UNREADABLE, *MALFORMED) as exc:
            reason = f"no {exc.filename}" if isinstance(exc, FileNotFoundError) else str(exc)
            raise BundleError(
                f"{path} is not a bundle: {reason}",
                hint="`edgetran deploy` leaves one in its run directory, as bundle.tar",
            ) from exc
        return Bundle(Path(path), digest, reader)

    @property
    def size_bytes(self) -> int:
        return len(self.manifest) + sum(blob.size_bytes for blob in self.blobs)

    def transfer_blobs(self) -> List[Blob]:
        """Everything a board needs, the manifest last."""
        own = Blob(self.digest, len(self.manifest), MEDIA_MANIFEST, "manifest.json")
        return [*self.blobs, own]

    def read(self, digest: str) -> bytes:
        try:
            data = self._reader.read(f"blobs/sha256/{check_digest_name(digest)}")
        except UNREADABLE as exc:
            raise BundleCorrupt(
                f"{self.path}: blob {digest} cannot be read: {exc}", hint="pack or copy it again"
            ) from exc
        found = digest_of(data)
        if found != digest:
            raise BundleCorrupt(
                f"{self.path}: expected {digest}, found {found}", hint="pack or copy it again"
            )
        return data


def write_bundle(path: Path, card: BundleCard, files: Mapping[str, Tuple[str, bytes]]) -> Bundle:
    """Writes a bundle at `path`, atomically; a name ending in .tar makes one file.

    files: file name -> (media type, bytes); every digest the card names must be
    among them. Same card and files give the same digest. The same bundle, if it is
    there already, stays as it is: it may have been signed.
    """
    blobs: Dict[str, bytes] = {}

    def add(name: str, media: str, data: bytes) -> Dict[str, Any]:
        digest = digest_of(data)
        blobs[check_digest_name(digest)] = data
        entry: Dict[str, Any] = {"mediaType": media, "digest": digest, "size": len(data)}
        if name:
            entry["annotations"] = {FILE_ANNOTATION: name}
        return entry

    layers = [add(name, media, data) for name, (media, data) in sorted(files.items())]
    named = {entry["digest"] for entry in layers}
    for digest in [card.tokenizer_digest, *(v.digest for v in card.variants)]:
        if digest not in named:
            raise BundleError(f"the card names {digest}, which is not among the files")
    layers.append(add(CARD_FILE, MEDIA_CARD, card.to_json()))
    config = _model_config(card, [entry["digest"] for entry in layers])
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "artifactType": MEDIA_ARTIFACT,
            "config": add("", MEDIA_CONFIG, canonical_json(config)),
            "layers": layers,
            "annotations": _annotations(card),
        }
    )
    manifest_entry = add("", MEDIA_MANIFEST, manifest)
    tree = {f"blobs/sha256/{name}": data for name, data in blobs.items()}
    tree["oci-layout"] = canonical_json({"imageLayoutVersion": "1.0.0"})
    tree["index.json"] = canonical_json({"schemaVersion": 2, "manifests": [manifest_entry]})
    if not _is_there(Path(path), digest_of(manifest)):
        write_layout(Path(path), tree)
    return Bundle.open(Path(path))


def _is_there(path: Path, digest: str) -> bool:
    """Whole, to the byte."""
    if not path.exists():
        return False
    try:
        found = Bundle.open(path)
        return found.digest == digest and all(found.read(blob.digest) for blob in found.blobs)
    except BundleError:  # something else, or damaged
        return False


def _model_config(card: BundleCard, layers: List[str]) -> Dict[str, Any]:
    """What ModelPack's own tools read; layers: digests, of files that nothing compressed."""
    descriptor: Dict[str, Any] = {"name": card.name}
    if card.sequence:
        descriptor["version"] = str(card.sequence)
    if card.licence:
        descriptor["licenses"] = [card.licence]
    config: Dict[str, Any] = {"capabilities": {"inputTypes": ["text"], "outputTypes": ["other"]}}
    if card.variants:
        first = card.variants[0]
        config["format"] = FORMATS.get(first.runtime, "onnx")
        config["precision"] = first.precision
    return {
        "descriptor": descriptor,
        "config": config,
        "modelfs": {"type": "layers", "diffIds": layers},
    }


def _annotations(card: BundleCard) -> Dict[str, str]:
    """What a registry shows of an artefact."""
    found = {f"{ANNOTATION}.title": card.name}
    if card.sequence:
        found[f"{ANNOTATION}.version"] = str(card.sequence)
    if card.licence:
        found[f"{ANNOTATION}.licenses"] = card.licence
    return found
