"""Every family computes here what the transformers library computes, or is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from edgetran_host.models.family import FAMILIES, family_of
from edgetran_host.models.seeds import classifier_model, load_seed, seed_model
from edgetran_host.models.text_model import TextModel
from edgetran_protos.errors import UsageError
from tokenizers import Tokenizer

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def run(originals: Any, theirs: transformers.PreTrainedModel, ours: TextModel) -> tuple[Any, Any]:
    """Both on the same rows: the original's output, our hidden states and logits."""
    config = ours.config
    ids, mask, types = originals.make_inputs(
        config.vocab_size, config.pad_id, config.type_vocab_size
    )
    extra = {} if theirs.config.model_type == "distilbert" else {"token_type_ids": types}
    with torch.no_grad():
        wanted = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True, **extra)
        return wanted, (ours.hidden_states(ids, mask, types), ours(ids, mask, types), mask.bool())


@pytest.mark.parametrize("name", FAMILIES)
class TestEqualToTheOriginal:
    def test_hidden_states_and_logits(self, name: str, tmp_path: Path, originals: Any) -> None:
        theirs = originals.make_original(name, tmp_path)
        ours = classifier_model(load_seed(str(tmp_path)), sequence_length=20)
        wanted, (states, logits, real) = run(originals, theirs, ours)
        assert len(states) == len(wanted.hidden_states) == 4
        for x, y in zip(states, wanted.hidden_states):
            torch.testing.assert_close(x[real], y[real], **CLOSE)
        torch.testing.assert_close(logits, wanted.logits, **CLOSE)
        assert logits.std() > 0.1

    def test_encoder_alone(self, name: str, tmp_path: Path, originals: Any) -> None:
        theirs = originals.make_original(name, tmp_path, head="")
        seed = load_seed(str(tmp_path))
        wanted, (states, _, real) = run(originals, theirs, seed_model(seed, 2, sequence_length=20))
        torch.testing.assert_close(states[-1][real], wanted.last_hidden_state[real], **CLOSE)
        with pytest.raises(UsageError, match="no text classifier") as caught:
            classifier_model(seed, 20)
        assert caught.value.hint

    def test_with_the_head_of_its_pretraining(
        self, name: str, tmp_path: Path, originals: Any
    ) -> None:
        theirs = originals.make_original(name, tmp_path, head="MaskedLM")
        wanted, (states, _, real) = run(
            originals, theirs, seed_model(load_seed(str(tmp_path)), 2, sequence_length=20)
        )
        torch.testing.assert_close(states[-1][real], wanted.hidden_states[-1][real], **CLOSE)

    def test_the_classifier_of_another_task_is_left_out(
        self, name: str, tmp_path: Path, originals: Any
    ) -> None:
        originals.make_original(name, tmp_path, head="TokenClassification")
        seed = load_seed(str(tmp_path))
        assert not any(key.startswith("classifier.") for key in seed.state)
        assert seed_model(seed, 5, 20).config.outputs == 5

    def test_a_new_classifier_is_no_matter_of_the_old(
        self, name: str, tmp_path: Path, originals: Any
    ) -> None:
        originals.make_original(name, tmp_path)
        seed = load_seed(str(tmp_path))
        fresh = seed_model(seed, 3, 20, pooling="cls")
        assert not torch.equal(fresh.classifier.weight, seed.state["classifier.weight"])
        assert fresh.pooler is not None
        assert torch.equal(fresh.pooler.weight, seed.state["pooler.weight"])

    def test_positions_that_no_text_reaches_are_left_out(
        self, name: str, tmp_path: Path, originals: Any
    ) -> None:
        theirs = originals.make_original(name, tmp_path)
        ours = classifier_model(load_seed(str(tmp_path)), sequence_length=12)
        wanted, (_, logits, _) = run(originals, theirs, ours)
        torch.testing.assert_close(logits, wanted.logits, **CLOSE)
        with pytest.raises(UsageError, match="reads up to 20"):
            classifier_model(load_seed(str(tmp_path)), sequence_length=21)


def test_electra_of_one_width_has_no_projection(tmp_path: Path, originals: Any) -> None:
    theirs = originals.make_original("electra", tmp_path, embedding_size=24)
    ours = classifier_model(load_seed(str(tmp_path)), sequence_length=20)
    assert ours.config.embedding_width is None
    wanted, (_, logits, _) = run(originals, theirs, ours)
    torch.testing.assert_close(logits, wanted.logits, **CLOSE)


def test_norms_of_the_first_checkpoints(tmp_path: Path, originals: Any) -> None:
    """Their weights and biases were called gamma and beta."""
    originals.make_original("bert", tmp_path)
    wanted = load_seed(str(tmp_path)).state
    file = tmp_path / "model.safetensors"
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
        for name, tensor in safetensors.torch.load_file(file).items()
    }
    assert "bert.embeddings.LayerNorm.gamma" in old
    safetensors.torch.save_file(old, file)
    found = load_seed(str(tmp_path)).state
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_two_labels_need_no_names(tmp_path: Path, originals: Any) -> None:
    originals.make_original("bert", tmp_path, num_labels=2)
    raw = json.loads((tmp_path / "config.json").read_bytes())
    raw.pop("id2label", None)
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert classifier_model(load_seed(str(tmp_path)), 20).config.outputs == 2


class TestBytePairs:
    def test_made_from_vocabulary_and_merges(self, tmp_path: Path, originals: Any) -> None:
        """Ids as RoBERTa's own tokenizer gives them, of one text and of two."""
        originals.make_original("roberta", tmp_path)
        found = Tokenizer.from_str(load_seed(str(tmp_path)).tokenizer_json.decode())
        wanted = transformers.RobertaTokenizer.from_pretrained(tmp_path)
        for text in [*originals.TEXTS, "今天 <mask> ☃"]:
            assert found.encode(text).ids == wanted(text)["input_ids"]
            pair = found.encode(text, "good film")
            assert pair.ids == wanted(text, "good film")["input_ids"]
            assert set(pair.type_ids) == {0}

    def test_damaged(self, tmp_path: Path, originals: Any) -> None:
        originals.make_original("roberta", tmp_path)
        (tmp_path / "vocab.json").write_text("{")
        with pytest.raises(UsageError, match=r"vocab\.json is not readable"):
            load_seed(str(tmp_path))
        (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}))
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
        with pytest.raises(UsageError, match="lacks <s> or </s>"):
            load_seed(str(tmp_path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, originals: Any) -> dict[str, Path]:
    found = {}
    for name in FAMILIES:
        found[name] = tmp_path_factory.mktemp(name)
        originals.make_original(name, found[name])
    return found


class TestRefused:
    """In one line that names the field or the weights."""

    @staticmethod
    def refused(folder: Path, message: str) -> None:
        with pytest.raises(UsageError, match=message) as caught:
            load_seed(str(folder))
        assert "\n" not in str(caught.value)
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("name", "field", "value"),
        [
            ("roberta", "hidden_act", "gelu_new"),
            ("roberta", "position_embedding_type", "relative_key"),
            ("roberta", "is_decoder", True),
            ("distilbert", "activation", "relu"),
            ("distilbert", "pruned_heads", {"0": [1]}),
            ("distilbert", "n_heads", 5),
            ("electra", "hidden_act", "relu"),
            ("electra", "embedding_size", 0),
            ("electra", "add_cross_attention", True),
            ("electra", "model_type", "albert"),
            ("bert", "pruned_heads", {"1": [0]}),
        ],
    )
    def test_a_setting(
        self, whole: dict[str, Path], tmp_path: Path, name: str, field: str, value: object
    ) -> None:
        folder = Path(shutil.copytree(whole[name], tmp_path / name))
        raw = json.loads((folder / "config.json").read_bytes())
        (folder / "config.json").write_text(json.dumps({**raw, field: value}))
        self.refused(folder, field)

    def change(self, source: Path, folder: Path, change: Any) -> None:
        shutil.copytree(source, folder)
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        change(weights)
        safetensors.torch.save_file(weights, folder / "model.safetensors")

    def test_missing_tensors_are_listed(self, whole: dict[str, Path], tmp_path: Path) -> None:
        def drop(weights: dict[str, Any]) -> None:
            for name in [key for key in weights if ".layer.1.attention.k_lin" in key]:
                del weights[name]

        self.change(whole["distilbert"], tmp_path / "x", drop)
        self.refused(
            tmp_path / "x",
            r"lack 2 tensors \(transformer\.layer\.1\.attention\.k_lin\.bias, "
            r"transformer\.layer\.1\.attention\.k_lin\.weight\)$",
        )

    def test_unknown_tensors_are_listed(self, whole: dict[str, Path], tmp_path: Path) -> None:
        def add(weights: dict[str, Any]) -> None:
            for at in range(7):
                weights[f"electra.encoder.layer.0.adapter.{at}"] = torch.ones(1)

        self.change(whole["electra"], tmp_path / "x", add)
        self.refused(
            tmp_path / "x",
            r"hold, unknown to electra, 7 tensors \(encoder\.layer\.0\.adapter\.0, .*, \.\.\.\)$",
        )

    def test_both(self, whole: dict[str, Path], tmp_path: Path) -> None:
        def rename(weights: dict[str, Any]) -> None:
            weights["roberta.x"] = weights.pop("classifier.dense.bias")

        self.change(whole["roberta"], tmp_path / "x", rename)
        self.refused(tmp_path / "x", r"lack classifier\.dense\.bias and hold, .*, x$")

    def test_a_layer_more_than_the_config_says(
        self, whole: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(whole["bert"], tmp_path / "x"))
        raw = json.loads((folder / "config.json").read_bytes())
        (folder / "config.json").write_text(json.dumps({**raw, "num_hidden_layers": 2}))
        self.refused(folder, r"unknown to bert, 16 tensors \(encoder\.layer\.2\.")

    def test_positions_short_of_the_offset(self, whole: dict[str, Path], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(whole["roberta"], tmp_path / "x"))
        raw = json.loads((folder / "config.json").read_bytes())
        (folder / "config.json").write_text(json.dumps({**raw, "max_position_embeddings": 20}))
        self.refused(folder, r"position_embeddings.* is \(22, 24\), config\.json says \(20, 24\)")


def test_the_table_of_families_is_true() -> None:
    for name in FAMILIES:
        assert family_of(name, "here").model_type == name
