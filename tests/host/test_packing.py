"""A bundle is the same for the same inputs, whole or refused, and enough to serve from."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from edgetran_daemon.serving.text import TextCodec
from edgetran_host.bundling.origin import Material, Origin
from edgetran_host.bundling.release import as_release
from edgetran_host.export import Exported, export_variants, run_onnx
from edgetran_host.inspecting import check
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.seeds import load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.packing import pack
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_host.space.identity import architecture_id
from edgetran_host.tasks import Encoded, Row, Task, encode
from edgetran_host.vocabulary import trim_tokenizer
from edgetran_protos.bundle import (
    MEDIA_CARD,
    MEDIA_CONFIG,
    MEDIA_DOC,
    MEDIA_PROVENANCE,
    MEDIA_SBOM,
    MEDIA_WEIGHT_CONFIG,
    MEDIA_WEIGHTS,
    Bundle,
    BundleCard,
    Claim,
    digest_of,
)
from edgetran_protos.errors import BundleCorrupt, BundleError

LENGTH = 12
VOCABULARY = 400
ROWS = (
    Row("a charming journey", "often affecting", "good"),
    Row("no movement, no yuks, not much of anything", "none", "bad"),
    Row("?", "what time is it", "so-so"),
)
TASK = Task("films", "classification", ("bad", "good", "so-so"), True, "accuracy", ROWS, ROWS)
ARCHITECTURE = Architecture(
    (Layer(hidden=14, heads=("sa_sdp", "l_dct"), head_size=6, feed_forward=(9,)),)
)
CONFIG = ModelConfig(
    architecture=ARCHITECTURE,
    vocab_size=VOCABULARY,
    positions="absolute",
    max_positions=LENGTH,
    type_vocab_size=2,
    pad_id=0,
    layer_norm_eps=1e-6,
    dropout=0.0,
    pooling="mean",
    outputs=len(TASK.labels),
    sequence_length=LENGTH,
)
ORIGIN = Origin(
    request={"data": "films"},
    recipe={},
    rows=Material("films", digest_of(b"rows"), ""),
    seed=Material("a seed", digest_of(b"seed"), "MIT"),
    packages={"torch": "2.13.0"},
    python="3.11.2",
    device="cpu",
)
CLAIM = Claim("accuracy", 0.9, 0.85, 0.94, True, "", "onnxruntime-int8")


@dataclasses.dataclass(frozen=True)
class Made:
    """What goes into a bundle."""

    exported: tuple[Exported, ...]
    tokenizer_json: bytes
    encoded: Encoded

    def pack(self, path: Path, **changes: object) -> Bundle:
        given = {
            "name": "films",
            "task": TASK,
            "exported": self.exported,
            "tokenizer_json": self.tokenizer_json,
            "config": CONFIG,
            "rows": ROWS,
            "encoded": self.encoded,
            "claims": [CLAIM],
            "licence": "Apache-2.0",
        }
        return pack(path, **{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    texts = [text for row in ROWS for text in (row.text, row.text_pair) if text]
    tokenizer_json, _ = trim_tokenizer(load_seed("minilm").tokenizer_json, texts, VOCABULARY)
    torch.manual_seed(0)
    model = TextModel(CONFIG)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.4)
    encoded = encode(tokenizer_json, ROWS, LENGTH, TASK)
    folder = tmp_path_factory.mktemp("graphs")
    exported = export_variants(model, encoded, ("fp32", "int8"), folder)
    return Made(tuple(exported), tokenizer_json, encoded)


@pytest.fixture(scope="module")
def packed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, never changed."""
    return made.pack(tmp_path_factory.mktemp("bundles") / "films").path


class TestIdentity:
    def test_same_inputs_same_bytes(self, made: Made, tmp_path: Path) -> None:
        one, other = made.pack(tmp_path / "one.tar"), made.pack(tmp_path / "deep" / "two.tar")
        assert one.digest == other.digest
        assert one.path.read_bytes() == other.path.read_bytes()

    def test_a_tar_and_a_folder_are_the_same_bundle(
        self, made: Made, packed: Path, tmp_path: Path
    ) -> None:
        folder, tar = Bundle.open(packed), made.pack(tmp_path / "films.tar")
        assert (tar.digest, tar.card, tar.blobs) == (folder.digest, folder.card, folder.blobs)
        for blob in folder.transfer_blobs():
            assert tar.read(blob.digest) == folder.read(blob.digest)
        with tarfile.open(tar.path) as archive:
            inside = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
        files = [path for path in packed.rglob("*") if path.is_file()]
        assert inside == {str(path.relative_to(packed)): path.read_bytes() for path in files}

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "other"},
            {"task": dataclasses.replace(TASK, labels=("good", "bad", "so-so"))},
            {"claims": []},
            {"licence": "MIT"},
            {"rows": ROWS[:2], "encoded": slice(0, 2)},
            {"exported": slice(0, 1)},
        ],
    )
    def test_any_other_input_is_another_bundle(
        self, made: Made, packed: Path, tmp_path: Path, change: dict[str, object]
    ) -> None:
        for key in ("encoded", "exported"):
            if isinstance(part := change.get(key), slice):
                change = {**change, key: getattr(made, key)[part]}
        assert made.pack(tmp_path / "films", **change).digest != Bundle.open(packed).digest

    def test_packing_again_replaces(self, made: Made, packed: Path, tmp_path: Path) -> None:
        for name in ("films", "films.tar"):
            made.pack(tmp_path / name, licence="MIT")
            assert made.pack(tmp_path / name).digest == Bundle.open(packed).digest
        assert sorted(path.name for path in tmp_path.iterdir()) == ["films", "films.tar"]

    def test_the_same_bundle_keeps_its_signatures_unless_it_is_damaged(
        self, made: Made, tmp_path: Path
    ) -> None:
        folder = made.pack(tmp_path / "films").path
        (folder / "signatures").mkdir()
        signature = folder / "signatures" / "ours.sig"
        signature.write_text("signed")
        made.pack(folder)
        assert signature.exists()
        flip(next((folder / "blobs" / "sha256").iterdir()))
        assert check(made.pack(folder).path)
        assert not signature.exists()


class TestCard:
    def test_says_what_was_packed(self, made: Made, packed: Path) -> None:
        bundle = Bundle.open(packed)
        card = bundle.card
        assert (card.name, card.task, card.labels) == ("films", TASK.kind, list(TASK.labels))
        assert (card.sequence_length, card.licence) == (LENGTH, "Apache-2.0")
        assert card.variants == [item.variant for item in made.exported]
        assert card.claims == [CLAIM]
        assert Architecture.from_dict(card.architecture) == ARCHITECTURE
        known = {"sequence_length": LENGTH, "lt_scale": True}
        assert card.architecture_id == architecture_id(ARCHITECTURE, **known)
        assert card.golden.texts == [[row.text, row.text_pair] for row in ROWS]
        assert {blob.file: blob.media_type for blob in bundle.blobs} == {
            "": MEDIA_CONFIG,
            "edgetran.json": MEDIA_CARD,
            "model-fp32.onnx": MEDIA_WEIGHTS,
            "model-int8.onnx": MEDIA_WEIGHTS,
            "tokenizer.json": MEDIA_WEIGHT_CONFIG,
        }
        assert bundle.read(card.tokenizer_digest) == made.tokenizer_json
        on_disk = [path.stat().st_size for path in (packed / "blobs").rglob("*") if path.is_file()]
        assert bundle.size_bytes == sum(on_disk)

    def test_other_tools_read_its_config_and_annotations(
        self, packed: Path, tmp_path: Path
    ) -> None:
        """By the names of ModelPack's specification, which allows no others."""
        bundle = as_release(Bundle.open(packed), [], 7, tmp_path / "released.tar")
        manifest = json.loads(bundle.manifest)
        assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
        assert json.loads(bundle.read(manifest["config"]["digest"])) == {
            "descriptor": {"name": "films", "version": "7", "licenses": ["Apache-2.0"]},
            "config": {
                "format": "onnx",
                "precision": "fp32",
                "capabilities": {"inputTypes": ["text"], "outputTypes": ["other"]},
            },
            "modelfs": {
                "type": "layers",
                "diffIds": [layer["digest"] for layer in manifest["layers"]],
            },
        }
        assert manifest["annotations"] == {
            "org.opencontainers.image.title": "films",
            "org.opencontainers.image.version": "7",
            "org.opencontainers.image.licenses": "Apache-2.0",
        }

    def test_a_known_origin_adds_its_papers_and_changes_nothing_else(
        self, made: Made, packed: Path, tmp_path: Path
    ) -> None:
        paths = [tmp_path / "one.tar", tmp_path / "two.tar"]
        first, second = (
            check(made.pack(path, origin=ORIGIN, notices={"LICENSE": b"mine"}).path)
            for path in paths
        )
        assert first.digest == second.digest
        assert first.card == Bundle.open(packed).card
        more = {b.file: b.media_type for b in set(first.blobs) - set(Bundle.open(packed).blobs)}
        assert more == {
            "": MEDIA_CONFIG,
            "LICENSE": MEDIA_DOC,
            "sbom.cdx.json": MEDIA_SBOM,
            "provenance.intoto.json": MEDIA_PROVENANCE,
        }

    def test_what_changes_a_model_s_outputs_changes_its_name(
        self, made: Made, tmp_path: Path
    ) -> None:
        configs = (
            CONFIG,
            dataclasses.replace(CONFIG, lt_scale=False),
            dataclasses.replace(CONFIG, embedding_width=8),
        )
        cards = [made.pack(tmp_path / f"{at}", config=c).card for at, c in enumerate(configs)]
        assert len({card.architecture_id for card in cards}) == len(configs)

    def test_what_each_variant_cost_and_how_much_a_board_may_lose(
        self, made: Made, packed: Path, tmp_path: Path
    ) -> None:
        before = Bundle.open(packed).card
        assert [v.accuracy_cost for v in before.variants] == [None, None]
        assert before.max_accuracy_cost is None
        costs = {"onnxruntime-int8": 0.004}
        card = made.pack(tmp_path / "films", accuracy_costs=costs, max_accuracy_cost=0.01).card
        assert {v.name: v.accuracy_cost for v in card.variants} == {
            "onnxruntime-fp32": None,
            "onnxruntime-int8": 0.004,
        }
        assert card.max_accuracy_cost == 0.01

    def test_a_card_of_before_is_read(self, packed: Path) -> None:
        """Schema 1 had one tolerance for all, and no costs."""
        raw = json.loads(Bundle.open(packed).card.to_json())
        raw["schema"] = 1
        del raw["golden"]["tolerances"], raw["max_accuracy_cost"]
        for variant in raw["variants"]:
            del variant["accuracy_cost"]
        card = BundleCard.from_json(json.dumps(raw).encode())
        assert card.golden.accepted("onnxruntime-fp32") == raw["golden"]["tolerance"]
        assert card.max_accuracy_cost is None

    def test_single_texts_and_regression(self, made: Made, tmp_path: Path) -> None:
        rows = (Row("a film", None, 1.5),)
        task = Task("stars", "regression", (), False, "pearson_spearman", rows, rows)
        encoded = encode(made.tokenizer_json, rows, LENGTH, task)
        card = made.pack(tmp_path / "stars", task=task, rows=rows, encoded=encoded).card
        assert (card.task, card.labels, card.golden.texts) == ("regression", [], [["a film"]])

    def test_claims_and_sequence_are_exchanged_and_nothing_else(
        self, packed: Path, tmp_path: Path
    ) -> None:
        before = Bundle.open(packed)
        claims = [CLAIM, dataclasses.replace(CLAIM, metric="latency_p50_s", value=0.01)]
        after = as_release(before, claims, 7, tmp_path / "films.tar")
        assert after.card == dataclasses.replace(before.card, claims=claims, sequence=7)
        kept = {blob.digest for blob in before.blobs if blob.file.startswith(("model", "token"))}
        assert len(kept) == 3
        assert kept <= {blob.digest for blob in after.blobs}
        assert after.digest != before.digest
        assert as_release(after, [CLAIM], 0, tmp_path / "again").digest == before.digest


class TestGolden:
    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    def test_rows_reproduce_from_the_bundle_alone(
        self, made: Made, packed: Path, tmp_path: Path, precision: str
    ) -> None:
        """As a board does it: texts by the bundle's tokenizer, through the bundle's graph."""
        bundle = Bundle.open(Path(shutil.copytree(packed, tmp_path / "moved")))
        card, golden = bundle.card, bundle.card.golden
        codec = TextCodec(card, bundle.read(card.tokenizer_digest))
        tokens = codec.encode([tuple(row) for row in golden.texts])
        for name, tensor in tokens.items():
            np.testing.assert_array_equal(tensor, getattr(golden, name))
        variant = card.variant(f"onnxruntime-{precision}")
        (tmp_path / "graph").write_bytes(bundle.read(variant.digest))
        session = onnxruntime.InferenceSession(tmp_path / "graph")
        (found,) = session.run(["logits"], tokens)
        wanted = np.array(golden.logits[variant.name])
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert np.ptp(wanted) > 0.1
        assert 0 < golden.accepted(variant.name) < np.abs(wanted).max()
        assert golden.accepted("onnxruntime-fp32") < golden.accepted("onnxruntime-int8")
        assert [p.label for p in codec.decode(found)] == [
            card.labels[at] for at in wanted.argmax(1)
        ]

    def test_each_variant_has_its_own(self, made: Made, packed: Path) -> None:
        golden = Bundle.open(packed).card.golden
        for item in made.exported:
            together = run_onnx(item.path, made.encoded, batch_rows=len(made.encoded))
            np.testing.assert_allclose(golden.logits[item.variant.name], together, atol=1e-6)
        assert len(golden.logits) == 2


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def to_tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, str(file.relative_to(folder)), recursive=False)
    return path


class TestDamage:
    @pytest.mark.parametrize("as_tar", [False, True])
    @pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
    def test_of_any_blob_is_found(
        self, packed: Path, tmp_path: Path, damage: Callable[[Path], None], as_tar: bool
    ) -> None:
        for at, blob in enumerate(Bundle.open(packed).transfer_blobs()):
            folder = Path(shutil.copytree(packed, tmp_path / str(at)))
            damage(folder / "blobs" / "sha256" / blob.digest.removeprefix("sha256:"))
            with pytest.raises(BundleCorrupt, match=blob.digest) as caught:
                Bundle.open(to_tar(folder) if as_tar else folder).read(blob.digest)
            assert "\n" not in str(caught.value)

    def test_a_graph_that_changed_since_it_was_exported(self, made: Made, tmp_path: Path) -> None:
        first = made.exported[0]
        path = Path(shutil.copy(first.path, tmp_path / first.path.name))
        path.write_bytes(path.read_bytes().replace(b"pytorch", b"pytarch"))  # it still runs
        changed = [dataclasses.replace(first, path=path)]
        with pytest.raises(BundleError, match="not among the files"):
            made.pack(tmp_path / "films.tar", exported=changed)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    def test_what_is_no_bundle(self, tmp_path: Path) -> None:
        (tmp_path / "notes.tar").write_text("no tar")
        (tmp_path / "empty").mkdir()
        for name in ("notes.tar", "empty", "nowhere"):
            with pytest.raises(BundleError, match=f"{name} is not a bundle") as caught:
                Bundle.open(tmp_path / name)
            assert caught.value.hint
