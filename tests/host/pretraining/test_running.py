"""A run from request to seed: learning, interruption, refusals, and what reads its result."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from edgetran.progress import OnProgress, Progress, ignore
from edgetran_host.cli.pretrain import pretrain as command
from edgetran_host.cli.runs import runs
from edgetran_host.models.checkpoint import load_model
from edgetran_host.models.seeds import load_seed, seed_model
from edgetran_host.pretraining import stepping
from edgetran_host.pretraining.curve import of_kind, read_curve
from edgetran_host.pretraining.horizon import Horizon
from edgetran_host.pretraining.request import Request, settle
from edgetran_host.pretraining.running import new_learner, pretrain
from edgetran_host.pretraining.word_pieces import frame
from edgetran_protos.errors import DataError, UsageError

Asking = Callable[..., Request]
MIXED = "2x16:sa_sdp,sa_wma,l_dct,c_5:32+24"


@pytest.fixture(scope="module")
def whole(asking: Asking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    pretrain(asking(steps=80, dropout=0.05), folder)
    return folder


@pytest.fixture(scope="module")
def mixed(asking: Asking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mixed"
    pretrain(asking(MIXED, steps=10), folder)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder / "model")[0].state_dict()


def test_learns_what_follows_what(whole: Path) -> None:
    result = json.loads((whole / "result.json").read_text())
    points = read_curve(whole)
    steps, held_out = of_kind(points, "held_out")
    assert steps[0] == 0
    assert steps[-1] == 80
    assert math.exp(held_out[0]) == pytest.approx(result["vocabulary"], rel=0.5)
    assert result["perplexity"] == pytest.approx(math.exp(min(held_out)), rel=1e-4)
    assert result["perplexity"] < math.exp(held_out[0]) / 5
    read, losses = of_kind(points, "loss")
    assert read == list(range(10, 81, 10))
    assert losses[-1] < losses[0] - 1
    assert result["tokens"] == 80 * 16 * 12
    _, rates = of_kind(points, "rate")
    assert max(rates) <= 1e-2
    assert rates[-1] == pytest.approx(1e-2 / (80 - 5), rel=1e-3)  # one step before zero


def test_the_same_request_again_does_nothing(
    whole: Path, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepping.Stepper, "learn", lambda self: pytest.fail("it learns again"))
    before = (whole / "result.json").read_text()
    assert pretrain(asking(steps=80, dropout=0.05), whole) == json.loads(before)
    with pytest.raises(UsageError, match="other steps"):
        pretrain(asking(steps=81, dropout=0.05), whole)


@pytest.mark.parametrize("step", [10, 30])
def test_interrupted(
    asking: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed between two saves, it ends with the very weights and curve."""
    monkeypatch.setattr(stepping, "SAVE_PERIOD_S", -1.0)
    monkeypatch.setattr(stepping, "SAVE_SHARE", 0.0)
    request = asking(accumulation=2)

    def listen(event: Progress) -> None:
        if event.stage == stepping.STAGE and event.done == step:
            raise KeyboardInterrupt

    def run(name: str, on_progress: OnProgress = ignore) -> Path:
        pretrain(request, tmp_path / name, on_progress=on_progress)
        return tmp_path / name

    with pytest.raises(KeyboardInterrupt):
        run("killed", listen)
    assert not (tmp_path / "killed" / "model").exists()
    with pytest.raises(UsageError, match="not finished"):
        load_seed(str(tmp_path / "killed"))
    events: list[Progress] = []
    one, other = run("killed", events.append), run("whole")
    first = next(event for event in events if event.stage == stepping.STAGE)
    assert first.done == step - 10  # the save comes after the telling
    same = weights(other)
    assert all(torch.equal(tensor, same[name]) for name, tensor in weights(one).items())

    def timeless(folder: Path) -> list[dict[str, float]]:
        return [{k: v for k, v in p.items() if k != "seconds"} for p in read_curve(folder)]

    assert timeless(one) == timeless(other)
    assert not (one / "state.safetensors").exists()


def test_a_worthless_rate(asking: Asking, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"became (nan|inf)") as caught:
        pretrain(asking(learning_rate=1e30, warmup_fraction=0.0), tmp_path)
    assert "--learning-rate" in caught.value.hint
    assert not (tmp_path / "model").exists()


def test_what_to_change_needs_another_folder(asking: Asking, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too short") as caught:
        pretrain(asking(sequence_length=4000), tmp_path / "out")
    assert f"with another --out: {tmp_path / 'out'}" in caught.value.hint
    with pytest.raises(UsageError, match="other sequence_length"):
        pretrain(asking(), tmp_path / "out")


def test_by_the_clock(asking: Asking, tmp_path: Path) -> None:
    result = pretrain(asking(steps=0, seconds=0.3), tmp_path)
    assert result["seconds"] >= 0.3
    assert result["steps"] % stepping.READ_STEPS == 0


def test_a_pace_becomes_a_horizon() -> None:
    """100 s at half a second a step, after a slow first block."""
    horizon, done, begun = Horizon(None, 100.0), 0, 8.0
    while not horizon.over(done):
        horizon.follow(10, begun if done == 0 else 5.0)
        done += 10
        if done == 50:
            horizon.follow(0, 2.0, learning=False)
        if done >= 20:
            assert horizon.total(done) == done + round((100 - horizon.elapsed_s) / 0.5)
    assert done == 190
    assert horizon.total(done) == done
    assert Horizon(7, 0.0).total(3) == 7


@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_all_heads_keep_to_one_device(positions: str, asking: Asking) -> None:
    """A tensor made on the CPU would not go with those on the device that stands for a GPU."""
    request = asking(
        "2x64:sa_sdp,sa_wma,l_dft,l_dct,c_5,c_9,c_13:32", positions=positions, dropout=0.0
    )
    learner = new_learner(request, frame()).to("meta")
    ids, places = torch.zeros(2, 12, dtype=torch.long), torch.zeros(2, 2, dtype=torch.long)
    loss = learner(ids.to("meta"), places.to("meta"), places.to("meta"))
    loss.backward()
    trained = [p for p in learner.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.is_meta for p in trained)


class TestRefusals:
    def test_how_long(self, asking: Asking) -> None:
        for changes in ({"steps": 0}, {"tokens": 5}):
            with pytest.raises(UsageError, match="how long"):
                asking(**changes)
        assert asking(steps=0, tokens=1000).planned_steps == 6

    def test_parts(self, asking: Asking) -> None:
        with pytest.raises(UsageError, match="equal parts"):
            asking(accumulation=3)

    def test_a_folder_of_other_things(self, asking: Asking, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(UsageError, match="other things"):
            pretrain(asking(), tmp_path)
        assert (tmp_path / "thesis.txt").exists()

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_no_gpu(self, asking: Asking, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no CUDA device"):
            pretrain(asking(device="cuda"), tmp_path)
        assert not list(tmp_path.iterdir())


class TestCommand:
    def test_runs(self, text: Path, tmp_path: Path) -> None:
        arguments = ["--design", MIXED, "--text", str(text), "--steps", "3", "--json"]
        arguments += ["--vocabulary", "300", "--sequence-length", "12", "--batch-size", "8"]
        found = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "out")])
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["steps"] == 3
        assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
        assert "perplexity" in (tmp_path / "out" / "report.html").read_text()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            (("--design", "bert-huge"), "is no design"),
            (("--text", "absent.txt"), "no such file"),
            (("--text", "~nobody-of-that-name/text"), "no such file"),
            (("--design", "~nobody-of-that-name/a.json"), "is no design"),
            (("--for", "soon"), "is not a time"),
            (("--for", ""), "is not a time"),
            (("--sequence-length", "4000"), "too short"),
        ],
    )
    def test_refuses(
        self, text: Path, tmp_path: Path, changed: tuple[str, str], message: str
    ) -> None:
        given = {"--design": "bert-tiny", "--text": str(text), "--for": "1s", "--vocabulary": "300"}
        given |= {"--out": str(tmp_path / "out"), changed[0]: changed[1]}
        found = CliRunner().invoke(command, [*itertools.chain(*given.items())])
        assert isinstance(found.exception, UsageError)
        assert message in str(found.exception)
        assert found.exception.hint


class TestRuns:
    def test_listed(self, whole: Path, tmp_path: Path) -> None:
        found = CliRunner().invoke(runs, ["list", "--runs", str(whole.parent), "--json"])
        listed = {one["name"]: one for one in json.loads(found.stdout)}
        assert listed["whole"]["kind"] == "pre-training"
        assert "finished, perplexity" in listed["whole"]["state"]
        found = CliRunner().invoke(runs, ["list", "--runs", str(whole.parent)])
        assert "finished, perplexity" in found.stdout

    def test_shown(self, whole: Path, asking: Asking, tmp_path: Path) -> None:
        result = json.loads((whole / "result.json").read_text())
        found = CliRunner().invoke(runs, ["show", str(whole), "--json"])
        assert json.loads(found.stdout) == {"path": str(whole), **result}
        settle(asking(), tmp_path / "begun")
        found = CliRunner().invoke(runs, ["show", "begun", "--runs", str(tmp_path)])
        assert "not finished" in str(found.exception)


class TestSeeds:
    @pytest.mark.parametrize("name", ["whole", "mixed"])
    def test_a_seed_is_the_model(self, name: str, request: pytest.FixtureRequest) -> None:
        folder: Path = request.getfixturevalue(name)
        model, tokenizer_json = load_model(folder / "model")
        for place in (folder, folder / "model"):
            seed = load_seed(str(place))
            assert seed.tokenizer_json == tokenizer_json
            assert "classifier.weight" not in seed.state
            found = seed_model(seed, outputs=3, sequence_length=12)
            ids = torch.arange(24).view(2, 12)
            inputs = ids, torch.ones_like(ids), torch.zeros_like(ids)
            for one, other in zip(found.hidden_states(*inputs), model.hidden_states(*inputs)):
                assert torch.equal(one, other)
            assert found(*inputs).shape == (2, 3)

    @pytest.mark.parametrize("positions", ["relative", "absolute"])
    def test_a_shorter_model_says_the_same(
        self, positions: str, asking: Asking, tmp_path: Path
    ) -> None:
        """Of texts that fit it."""
        pretrain(asking(steps=10, positions=positions), tmp_path)
        seed = load_seed(str(tmp_path))
        long, short = (seed_model(seed, 3, length) for length in (12, 7))
        ids = torch.from_numpy(np.random.default_rng(0).integers(5, 100, (4, 7)))
        inputs = ids, torch.ones_like(ids), torch.zeros_like(ids)
        torch.testing.assert_close(long(*inputs), short(*inputs), atol=1e-6, rtol=0.0)

    def test_too_long(self, whole: Path) -> None:
        with pytest.raises(UsageError, match="up to 12 tokens"):
            seed_model(load_seed(str(whole)), 2, 13)


def test_requests_are_kept_whole(asking: Asking) -> None:
    request = asking(MIXED, dropout=0.0)
    again = Request.from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert again != dataclasses.replace(request, random_seed=1)
