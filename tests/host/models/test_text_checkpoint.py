"""A saved model comes back as it was, or the one before it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from edgetran_host.models import checkpoint
from edgetran_host.models.checkpoint import load_model, save_model
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import HEAD_KINDS, Architecture, Layer
from edgetran_protos.errors import UsageError
from torch import Tensor

TOKENIZER = b'{"version": "1.0"}'


def make(seed: int, positions: str = "relative", pooling: str = "cls") -> TextModel:
    layers = (
        Layer(hidden=12, heads=HEAD_KINDS, head_size=3, feed_forward=(5, 6)),
        Layer(hidden=10, heads=("l_dct",), head_size=7, feed_forward=(8,)),
    )
    torch.manual_seed(seed)
    return TextModel(
        ModelConfig(
            architecture=Architecture(layers),
            vocab_size=30,
            positions=positions,
            max_positions=9,
            type_vocab_size=1,
            pad_id=0,
            layer_norm_eps=1e-12,
            dropout=0.1,
            pooling=pooling,
            outputs=2,
            sequence_length=8,
            lt_scale=False,
        )
    ).eval()


def logits(model: TextModel) -> Tensor:
    ids = torch.arange(16).reshape(2, 8)
    with torch.no_grad():
        found: Tensor = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    return found


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_round_trip_is_exact(tmp_path: Path, positions: str, pooling: str) -> None:
    model = make(1, positions, pooling)
    save_model(model, tmp_path / "deep" / "model", TOKENIZER)
    found, tokenizer = load_model(tmp_path / "deep" / "model")
    assert torch.equal(logits(found), logits(model))
    assert found.config == model.config
    assert tokenizer == TOKENIZER
    assert not found.training
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_saving_again_replaces(tmp_path: Path) -> None:
    for seed in (1, 2):
        save_model(make(seed), tmp_path / "model", TOKENIZER)
    assert torch.equal(logits(load_model(tmp_path / "model")[0]), logits(make(2)))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


class TestInterrupted:
    @pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
    def test_while_writing_leaves_the_old_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
    ) -> None:
        save_model(make(1), tmp_path / "model", TOKENIZER)
        write = checkpoint._write

        def killed(path: Path, data: bytes) -> None:
            if path.name == file:
                path.write_bytes(data[: len(data) // 2])
                raise KeyboardInterrupt
            write(path, data)

        monkeypatch.setattr(checkpoint, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            save_model(make(2), tmp_path / "model", b"other")
        found, tokenizer = load_model(tmp_path / "model")
        assert torch.equal(logits(found), logits(make(1)))
        assert tokenizer == TOKENIZER
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    @pytest.mark.parametrize("again", [False, True])
    def test_between_the_renames_leaves_the_old_model(self, tmp_path: Path, again: bool) -> None:
        folder = tmp_path / "model"
        save_model(make(1), folder, TOKENIZER)
        folder.rename(checkpoint._previous(folder))  # where a power cut may stop it
        if again:
            save_model(make(2), folder, TOKENIZER)
        found, _ = load_model(folder)
        assert torch.equal(logits(found), logits(make(2 if again else 1)))
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


class TestRefused:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        save_model(make(1), tmp_path / "model", TOKENIZER)
        return tmp_path / "model"

    def refused(self, folder: Path, message: str) -> None:
        with pytest.raises(UsageError, match=message) as caught:
            load_model(folder)
        assert caught.value.hint or "configuration" in message

    def test_no_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nothing", "holds no model")

    @pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
    def test_a_missing_file(self, folder: Path, file: str) -> None:
        (folder / file).unlink()
        self.refused(folder, f"{file} is missing")

    @pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
    def test_half_a_file(self, folder: Path, file: str) -> None:
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: len(data) // 2])
        self.refused(folder, "no readable model")

    @pytest.mark.parametrize("text", ["[]", "3", "{}"])
    def test_a_config_of_another_kind(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text)
        self.refused(folder, "configuration")

    def test_weights_of_another_shape(self, folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_bytes())
        (folder / "config.json").write_text(json.dumps({**raw, "outputs": 3}))
        self.refused(folder, "classifier")

    def test_weights_of_another_model(self, folder: Path) -> None:
        safetensors.torch.save_file({"x": torch.ones(2)}, folder / "model.safetensors")
        self.refused(folder, "no readable model")

    def test_saving_over_a_folder_of_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(UsageError, match=r"thesis\.txt"):
            save_model(make(1), tmp_path, TOKENIZER)
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_saving_over_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "model").write_text("a file")
        with pytest.raises(UsageError, match="would delete"):
            save_model(make(1), tmp_path / "model", TOKENIZER)
