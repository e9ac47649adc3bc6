"""A bundle's bill of materials and provenance: valid, true of its files, the same every time."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from edgetran_host.bundling.notices import notices_of
from edgetran_host.bundling.origin import Material, Origin, packages_here, python_here
from edgetran_host.bundling.provenance import PROVENANCE_FILE, provenance
from edgetran_host.bundling.release import as_release
from edgetran_host.bundling.sbom import SBOM_FILE, sbom
from edgetran_host.cli.bundle import bundle
from edgetran_host.inspecting import check, describe
from edgetran_protos.bundle import (
    MEDIA_PROVENANCE,
    MEDIA_SBOM,
    Bundle,
    digest_of,
    write_bundle,
)
from edgetran_protos.errors import BundleCorrupt

ORIGIN = Origin(
    request={"data": "intents", "random_seed": 7, "effort": "quick"},
    recipe={"epochs": 3},
    rows=Material("intents", digest_of(b"rows"), ""),
    seed=Material("all-MiniLM-L6-v2", digest_of(b"seed"), "Apache-2.0"),
    packages={"edgetran-host": "0.1.0", "onnxruntime": "1.30.0", "torch": "2.13.0"},
    python="3.11.2",
    device="cpu",
)
DIGESTS = {"model.onnx": digest_of(b"graph"), "tokenizer.json": digest_of(b"tokens")}
AGAIN = """
import sys
from tests.host.bundling.test_papers import DIGESTS, ORIGIN, provenance, sbom
sys.stdout.buffer.write(sbom("films", "MIT", DIGESTS, ["openvino", "onnxruntime"], ORIGIN))
sys.stdout.buffer.write(provenance(ORIGIN, DIGESTS))
"""


def bill(licence: str = "Apache-2.0", runtimes: tuple[str, ...] = ("onnxruntime",)) -> Any:
    data = sbom("films", licence, DIGESTS, runtimes, ORIGIN)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    return json.loads(data)


class TestSbom:
    @pytest.mark.parametrize("licence", ["Apache-2.0", "MIT OR Apache-2.0", "as you like it", ""])
    @pytest.mark.parametrize("runtimes", [("onnxruntime", "litert", "tensorrt"), ("myriad",), ()])
    def test_is_valid_cyclonedx(self, licence: str, runtimes: tuple[str, ...]) -> None:
        found = bill(licence, runtimes)
        assert found["metadata"]["component"]["name"] == "films"
        assert ("licenses" in found["metadata"]["component"]) == bool(licence)

    def test_names_files_materials_and_what_runs_them(self) -> None:
        parts = {part["bom-ref"]: part for part in bill()["components"]}
        for ref, digest in {
            **{f"file:{name}": digest for name, digest in DIGESTS.items()},
            "rows": ORIGIN.rows.digest,
            "seed": ORIGIN.seed.digest,
        }.items():
            wanted = [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
            assert parts.pop(ref)["hashes"] == wanted
        assert [part["purl"] for part in parts.values()] == ["pkg:pypi/onnxruntime@1.30.0"]
        [model] = [one for one in bill()["dependencies"] if one["ref"] == "model"]
        assert set(model["dependsOn"]) == {part["bom-ref"] for part in bill()["components"]}

    def test_other_files_other_serial_number(self) -> None:
        assert bill()["serialNumber"] == bill()["serialNumber"]
        assert bill()["serialNumber"] != bill("MIT")["serialNumber"]


class TestProvenance:
    def test_says_what_of_what_by_what(self) -> None:
        found = json.loads(provenance(ORIGIN, DIGESTS))
        assert found["_type"] == "https://in-toto.io/Statement/v1"
        assert found["predicateType"] == "https://slsa.dev/provenance/v1"
        assert {one["name"]: one["digest"] for one in found["subject"]} == {
            name: {"sha256": digest.removeprefix("sha256:")} for name, digest in DIGESTS.items()
        }
        definition = found["predicate"]["buildDefinition"]
        assert definition["externalParameters"] == ORIGIN.request
        assert definition["internalParameters"] == {"recipe": ORIGIN.recipe, "device": "cpu"}
        named = {one["name"]: one for one in definition["resolvedDependencies"]}
        assert named["rows"]["digest"]["sha256"] == ORIGIN.rows.digest.removeprefix("sha256:")
        assert named["torch"]["uri"] == "pkg:pypi/torch@2.13.0"

    def test_an_origin_survives_json(self) -> None:
        here = dataclasses.replace(ORIGIN, packages=packages_here(), python=python_here())
        assert here.packages["torch"]
        assert Origin.from_json(json.loads(json.dumps(here.to_json()))) == here


def test_another_process_writes_the_same_bytes(root: Path) -> None:
    """Sets have another order there."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", AGAIN],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(outputs) == 1
    assert b"pkg:pypi/openvino" in outputs.pop()


class TestNotices:
    def test_a_folder_s_own_go_along(self, tmp_path: Path) -> None:
        (tmp_path / "LICENSE.txt").write_text("mine")
        (tmp_path / "NOTICE").write_text("thanks")
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "LICENSE-of-another").write_bytes(b"0" * ((1 << 20) + 1))
        wanted = {"LICENSE.txt": b"mine", "NOTICE": b"thanks"}
        assert notices_of(tmp_path, "apache-2.0") == wanted

    def test_apache_s_text_where_there_is_none(self, tmp_path: Path, root: Path) -> None:
        (tmp_path / "NOTICE").write_text("thanks")
        found = notices_of(tmp_path, "apache-2.0")
        assert found == {"NOTICE": b"thanks", "LICENSE": (root / "LICENSE").read_bytes()}
        assert notices_of(tmp_path, "mit") == {"NOTICE": b"thanks"}


class TestBundle:
    @pytest.fixture
    def papered(self, tmp_path: Path, tiny: ModuleType) -> Bundle:
        """As `pack` writes it."""
        plain = tiny.make(tmp_path / "plain")
        files = {
            blob.file: (blob.media_type, plain.read(blob.digest))
            for blob in plain.blobs
            if blob.file and blob.file != "edgetran.json"
        }
        digests = {name: digest_of(data) for name, (_, data) in files.items()}
        bill = sbom(plain.card.name, plain.card.licence, digests, ["onnxruntime"], ORIGIN)
        files[SBOM_FILE] = (MEDIA_SBOM, bill)
        files[PROVENANCE_FILE] = (MEDIA_PROVENANCE, provenance(ORIGIN, digests))
        return write_bundle(tmp_path / "papered.tar", plain.card, files)

    def test_a_release_keeps_them(self, papered: Bundle, tmp_path: Path) -> None:
        released = as_release(papered, [], 7, tmp_path / "released.tar")
        kept = {blob.file: blob for blob in check(released.path).blobs}
        before = {blob.file: blob for blob in papered.blobs}
        for file in (SBOM_FILE, PROVENANCE_FILE):
            assert kept[file] == before[file]

    def test_what_it_is_made_of_is_shown(self, papered: Bundle) -> None:
        told = describe(papered)["provenance"]
        assert told["materials"] == {"rows": ORIGIN.rows.name, "seed": ORIGIN.seed.name}
        assert told["request"] == ORIGIN.request
        assert told["packages"]["torch"] == "pkg:pypi/torch@2.13.0"
        shown = CliRunner().invoke(bundle, ["show", str(papered.path)])
        assert f"made of rows {ORIGIN.rows.name}, seed {ORIGIN.seed.name}" in shown.output

    def test_provenance_of_other_files_is_found(self, papered: Bundle, tmp_path: Path) -> None:
        files = {
            blob.file: (blob.media_type, papered.read(blob.digest))
            for blob in papered.blobs
            if blob.file and blob.file != "edgetran.json"
        }
        for wrong in (provenance(ORIGIN, DIGESTS), b"{}", b"no json"):
            changed = {**files, PROVENANCE_FILE: (MEDIA_PROVENANCE, wrong)}
            made = write_bundle(tmp_path / "wrong.tar", papered.card, changed)
            with pytest.raises(BundleCorrupt, match="provenance"):
                check(made.path)
