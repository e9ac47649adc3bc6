"""A bundle looked into, checked to the byte, and compared with another, through the command."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from edgetran_host.cli.bundle import EXIT_DIFFERENT, bundle
from edgetran_host.inspecting import check, describe, differences
from edgetran_protos.bundle import Bundle, Claim, write_bundle
from edgetran_protos.errors import BundleCorrupt, BundleError


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, tiny: ModuleType) -> Bundle:
    made: Bundle = tiny.make(tmp_path_factory.mktemp("bundle") / "one.tar")
    return made


def with_card(packed: Bundle, path: Path, **changes: Any) -> Bundle:
    files = {
        blob.file: (blob.media_type, packed.read(blob.digest))
        for blob in packed.blobs
        if blob.file and blob.file != "edgetran.json"
    }
    return write_bundle(path, dataclasses.replace(packed.card, **changes), files)


def test_what_is_told_is_what_is_there(packed: Bundle) -> None:
    found = describe(check(packed.path))
    assert found["digest"] == packed.digest
    assert found["golden_rows"] == len(packed.card.golden.texts)
    sizes = {one["digest"]: one["size_bytes"] for one in found["files"]}
    assert sizes == {blob.digest: len(packed.read(blob.digest)) for blob in packed.blobs}
    assert json.loads(json.dumps(found)) == found


def test_a_changed_byte_is_found(packed: Bundle, tmp_path: Path) -> None:
    graph = packed.card.variants[0].digest.removeprefix("sha256:")
    data = bytearray(packed.path.read_bytes())
    with tarfile.open(packed.path) as tar:
        data[tar.getmember(f"blobs/sha256/{graph}").offset_data] ^= 1
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(BundleCorrupt, match="expected sha256"):
        check(tmp_path / "bad.tar")


def test_a_file_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BundleError, match="is not a bundle"):
        check(tmp_path / "notes.txt")


def test_a_bundle_differs_from_itself_in_nothing(packed: Bundle) -> None:
    assert differences(packed, Bundle.open(packed.path)) == []


def test_each_change_is_named_with_both_values(packed: Bundle, tmp_path: Path) -> None:
    variant = packed.card.variants[0]
    claim = Claim("energy_j", 0.5, None, None, False, "rpi4:cpu", variant.name)
    slower = dataclasses.replace(variant, max_abs_error=0.25)
    other = with_card(
        packed,
        tmp_path / "other.tar",
        sequence=7,
        claims=[*packed.card.claims, claim],
        variants=[slower, *packed.card.variants[1:]],
    )
    found = {one.what: (one.before, one.after) for one in differences(packed, other)}
    assert found.pop("sequence") == (packed.card.sequence, 7)
    claimed = f"claims.energy_j @ rpi4:cpu {variant.name}"
    assert found.pop(claimed) == (None, "0.5, modelled")
    errors = (variant.max_abs_error, 0.25)
    assert found.pop(f"variants.{variant.name}.max_abs_error") == errors
    assert list(found) == ["file edgetran.json"]


def test_the_command_says_by_its_status_whether_two_differ(packed: Bundle, tmp_path: Path) -> None:
    other = with_card(packed, tmp_path / "other.tar", licence="MIT")
    same = CliRunner().invoke(bundle, ["diff", str(packed.path), str(packed.path)])
    changed = CliRunner().invoke(bundle, ["diff", str(packed.path), str(other.path), "--json"])
    assert (same.exit_code, same.output) == (0, "the same\n")
    assert changed.exit_code == EXIT_DIFFERENT
    assert {one["what"] for one in json.loads(changed.output)} == {"licence", "file edgetran.json"}


def test_the_table_names_variants_files_and_claims(packed: Bundle) -> None:
    shown = CliRunner().invoke(bundle, ["show", str(packed.path)]).output
    assert packed.digest in shown
    assert all(variant.name in shown for variant in packed.card.variants)
    assert "tokenizer.json" in shown
