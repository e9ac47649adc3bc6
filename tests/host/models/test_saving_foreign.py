"""What is written loads in the transformers library with equal outputs, and comes back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from edgetran_host.models.checkpoint import save_model
from edgetran_host.models.config import ModelConfig
from edgetran_host.models.family import FAMILIES
from edgetran_host.models.saving_foreign import save_as_transformers
from edgetran_host.models.seeds import classifier_model, load_seed
from edgetran_host.models.text_model import TextModel
from edgetran_host.space.architecture import Architecture, Layer
from edgetran_protos.errors import ArchitectureError, UsageError
from torch import Tensor

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
PLAIN = Layer(hidden=24, heads=("sa_sdp",) * 4, head_size=6, feed_forward=(40,))
POOLER = {"bert": "tanh", "roberta": "tanh", "distilbert": "relu", "electra": "gelu"}


def build(layers: tuple[Layer, ...] = (PLAIN, PLAIN), **changes: Any) -> TextModel:
    plain = ModelConfig(
        architecture=Architecture(layers),
        vocab_size=10,
        positions="absolute",
        max_positions=20,
        type_vocab_size=1,
        pad_id=0,
        layer_norm_eps=1e-12,
        dropout=0.1,
        pooling="cls",
        outputs=3,
        sequence_length=12,
    )
    torch.manual_seed(2)
    model = TextModel(dataclasses.replace(plain, **changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    return model


@pytest.fixture
def tokenizer_json(tmp_path: Path, originals: Any) -> bytes:
    (tmp_path / "words").mkdir()
    originals.write_word_pieces(tmp_path / "words")
    return (tmp_path / "words" / "tokenizer.json").read_bytes()


def outputs(originals: Any, folder: Path, model: TextModel, auto: str) -> tuple[Any, Tensor, Any]:
    """The library's output, our logits and last hidden state, the places of real tokens."""
    loaded, report = getattr(transformers, auto).from_pretrained(
        folder, output_loading_info=True, local_files_only=True
    )
    assert not [name for name in report["missing_keys"] if "pooler" not in name]
    config = model.config
    ids, mask, types = originals.make_inputs(
        config.vocab_size, config.pad_id, config.type_vocab_size
    )
    extra = {} if loaded.config.model_type == "distilbert" else {"token_type_ids": types}
    with torch.no_grad():
        theirs = loaded.eval()(input_ids=ids, attention_mask=mask, **extra)
        states = model.hidden_states(ids, mask, types)
        return theirs, model(ids, mask, types), (states[-1], mask.bool())


@pytest.mark.parametrize("name", FAMILIES)
class TestEveryFamily:
    def test_classifier_out_and_in_again(
        self, name: str, tmp_path: Path, originals: Any, tokenizer_json: bytes
    ) -> None:
        model = build(pooler_activation=POOLER[name])
        save_as_transformers(model, tmp_path / "out", tokenizer_json, model_type=name)
        theirs, logits, _ = outputs(
            originals, tmp_path / "out", model, "AutoModelForSequenceClassification"
        )
        torch.testing.assert_close(theirs.logits, logits, **CLOSE)
        seed = load_seed(str(tmp_path / "out"))
        again = classifier_model(seed, sequence_length=12)
        assert again.config.architecture == model.config.architecture
        inputs = originals.make_inputs(10, 0, 1)
        with torch.no_grad():
            torch.testing.assert_close(again(*inputs), logits, **CLOSE)
        assert seed.tokenizer_json == tokenizer_json

    def test_encoder_with_a_classifier_on_the_mean(
        self, name: str, tmp_path: Path, originals: Any, tokenizer_json: bytes
    ) -> None:
        model = build(pooling="mean")
        save_as_transformers(model, tmp_path / "out", tokenizer_json, model_type=name)
        theirs, logits, (state, real) = outputs(originals, tmp_path / "out", model, "AutoModel")
        torch.testing.assert_close(theirs.last_hidden_state[real], state[real], **CLOSE)
        again = classifier_model(load_seed(str(tmp_path / "out")), sequence_length=12)
        assert again.config.pooling == "mean"
        with torch.no_grad():
            torch.testing.assert_close(again(*originals.make_inputs(10, 0, 1)), logits, **CLOSE)

    def test_in_and_out_gives_the_original(self, name: str, tmp_path: Path, originals: Any) -> None:
        theirs = originals.make_original(name, tmp_path / "in")
        seed = load_seed(str(tmp_path / "in"))
        model = classifier_model(seed, sequence_length=20)
        save_as_transformers(model, tmp_path / "out", seed.tokenizer_json, model_type=name)
        again = type(theirs).from_pretrained(tmp_path / "out").state_dict()
        for key, tensor in theirs.state_dict().items():
            unread = seed.config.pad_id + 1 if name == "roberta" and "position" in key else 0
            assert torch.equal(again[key][unread:], tensor[unread:]), key


class TestChoice:
    @pytest.mark.parametrize(
        ("changes", "wanted"),
        [
            ({}, "bert"),
            ({"pooler_activation": "relu"}, "distilbert"),
            ({"pooler_activation": "gelu"}, "electra"),
            ({"pooler_activation": "gelu", "embedding_width": 16}, "electra"),
            ({"pooling": "mean", "embedding_width": 16}, "electra"),
            ({"pooling": "mean", "type_vocab_size": 2, "pad_id": 3}, "bert"),
        ],
    )
    def test_the_first_family_that_holds_the_model(
        self,
        changes: dict[str, Any],
        wanted: str,
        tmp_path: Path,
        originals: Any,
        tokenizer_json: bytes,
    ) -> None:
        model = build(**changes)
        save_as_transformers(model, tmp_path / "out", tokenizer_json)
        assert transformers.AutoConfig.from_pretrained(tmp_path / "out").model_type == wanted
        _, logits, (state, real) = found = outputs(originals, tmp_path / "out", model, "AutoModel")
        torch.testing.assert_close(found[0].last_hidden_state[real], state[real], **CLOSE)
        again = classifier_model(load_seed(str(tmp_path / "out")), sequence_length=12)
        inputs = originals.make_inputs(10, model.config.pad_id, model.config.type_vocab_size)
        with torch.no_grad():
            torch.testing.assert_close(again(*inputs), logits, **CLOSE)


class TestHeads:
    @pytest.mark.parametrize(
        ("heads", "size", "found"),
        [(4, 6, 4), (3, 6, 4), (1, 6, 4), (2, 6, 4), (5, 4, 6), (3, 7, 3), (1, 24, 1), (7, 3, 8)],
    )
    def test_fewer_and_narrower_ones_are_filled_up(
        self,
        heads: int,
        size: int,
        found: int,
        tmp_path: Path,
        originals: Any,
        tokenizer_json: bytes,
    ) -> None:
        """As a search leaves them; `found` heads stand in the library's configuration."""
        layer = dataclasses.replace(PLAIN, heads=("sa_sdp",) * heads, head_size=size)
        model = build((layer,) * 2)
        save_as_transformers(model, tmp_path / "out", tokenizer_json)
        raw = transformers.AutoConfig.from_pretrained(tmp_path / "out")
        assert (raw.num_attention_heads, raw.hidden_size) == (found, 24)
        theirs, logits, _ = outputs(
            originals, tmp_path / "out", model, "AutoModelForSequenceClassification"
        )
        torch.testing.assert_close(theirs.logits, logits, **CLOSE)


class TestFiles:
    def test_the_library_reads_the_tokenizer_and_the_labels(
        self, tmp_path: Path, tokenizer_json: bytes
    ) -> None:
        labels = ("no", "perhaps", "yes")
        save_as_transformers(build(), tmp_path / "out", tokenizer_json, labels)
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
        found = tokenizer(["good films", "a"], ["bad", "good"], padding=True)
        assert found["input_ids"] == [[2, 5, 7, 8, 3, 6, 3], [2, 9, 3, 5, 3, 0, 0]]
        assert "token_type_ids" not in found  # the model has one type
        assert tokenizer.model_max_length == 12
        config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
        assert tuple(config.id2label.values()) == labels
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
        assert model(**tokenizer("good films", return_tensors="pt")).logits.shape == (1, 3)

    def test_what_else_is_in_the_folder_stays(self, tmp_path: Path, tokenizer_json: bytes) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("years of work")
        with pytest.raises(UsageError, match=r"thesis\.txt"):
            save_as_transformers(build(), tmp_path / "out", tokenizer_json)
        assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"

    def test_replaces_a_model(self, tmp_path: Path, tokenizer_json: bytes) -> None:
        save_model(build(), tmp_path / "out", tokenizer_json)
        for _ in range(2):
            save_as_transformers(build(), tmp_path / "out", tokenizer_json)
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"heads": ("sa_sdp", "sa_wma", "c_5", "c_5")}, "layer 1 has c_5, sa_wma heads"),
            ({"feed_forward": (40, 40)}, "layer 1 stacks 2 feed-forward widths"),
            ({"hidden": 48}, "layer 1 has hidden size 48, layer 0 has 24"),
            ({"feed_forward": (41,)}, "layer 1 has another shape than layer 0"),
            ({"heads": ("sa_sdp",) * 3}, "layer 1 has another shape than layer 0"),
        ],
    )
    def test_a_layer(
        self, change: dict[str, Any], message: str, tmp_path: Path, tokenizer_json: bytes
    ) -> None:
        model = build((PLAIN, dataclasses.replace(PLAIN, **change)))
        with pytest.raises(ArchitectureError, match=message) as caught:
            save_as_transformers(model, tmp_path / "out", tokenizer_json)
        assert caught.value.hint
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(("heads", "size"), [(5, 5), (5, 6), (2, 13)])
    def test_heads_that_fit_no_shares(
        self, heads: int, size: int, tmp_path: Path, tokenizer_json: bytes
    ) -> None:
        layer = dataclasses.replace(PLAIN, heads=("sa_sdp",) * heads, head_size=size)
        with pytest.raises(ArchitectureError, match=f"layer 0 has {heads} heads of {size}"):
            save_as_transformers(build((layer,)), tmp_path / "out", tokenizer_json)

    @pytest.mark.parametrize(
        ("changes", "model_type", "message"),
        [
            ({"positions": "relative"}, None, "positions are relative"),
            ({"legacy_sa_zero": True}, None, "legacy_sa_zero"),
            ({"embedding_width": 16}, None, "pooler_activation is tanh"),
            ({"pooling": "mean", "embedding_width": 24}, None, "embedding_width is the hidden"),
            ({"pooling": "mean", "embedding_width": 16}, "bert", "embedding_width is 16"),
            ({"pooler_activation": "relu"}, "bert", "pooler_activation is relu, not tanh"),
            ({"pooling": "mean", "type_vocab_size": 2}, "distilbert", "type_vocab_size is 2"),
            ({"pooling": "mean", "layer_norm_eps": 1e-5}, "distilbert", "layer_norm_eps is 1e-05"),
            ({}, "gpt2", "model_type is 'gpt2'"),
        ],
    )
    def test_a_setting(
        self,
        changes: dict[str, Any],
        model_type: str | None,
        message: str,
        tmp_path: Path,
        tokenizer_json: bytes,
    ) -> None:
        with pytest.raises(UsageError, match=message) as caught:
            save_as_transformers(
                build(**changes), tmp_path / "out", tokenizer_json, model_type=model_type
            )
        assert caught.value.hint

    def test_labels_of_another_count(self, tmp_path: Path, tokenizer_json: bytes) -> None:
        with pytest.raises(UsageError, match="2 labels for 3 outputs"):
            save_as_transformers(build(), tmp_path / "out", tokenizer_json, ("a", "b"))

    def test_an_unreadable_tokenizer(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="tokenizer cannot be read"):
            save_as_transformers(build(), tmp_path / "out", b"[]")
