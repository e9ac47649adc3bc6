"""The shipped task: the same rows everywhere, honest splits, and as hard as its README says."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from edgetran_host.tasks import Task, choose_sequence_length, encode, floor_score, load_task, score
from edgetran_host.tasks.intents import Utterance, utterances, write_tables
from edgetran_host.tasks.intents.grammar import FOLDER, grammar
from edgetran_host.tasks.intents.noise import NOISY, hear
from edgetran_host.tasks.intents.speaking import FALSE_START, UNSEEN, Speaker
from edgetran_host.tasks.intents.templates import Word, expansions, parse
from edgetran_protos.errors import DataError, UsageError
from hypothesis import given
from hypothesis import strategies as st

# The rows themselves. Another digest means another task: scores measured before it no
# longer compare, and the figures in the README must be measured again.
DIGEST = "2244a20b3f81cf5bc77217ae618154df8237221cdec888409ca88f49b91fc567"
README = FOLDER.with_name("README.md")
DIGEST_OF_ROWS = """
import hashlib
from edgetran_host.tasks import load_task
task = load_task("intents")
print(hashlib.sha256(repr((task.train, task.dev)).encode()).hexdigest())
"""
FLOOR = (0.70, 0.85)
MINILM = (0.90, 0.96)
TRAIN, DEV = "train", "dev"


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("intents")


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


def both() -> tuple[Utterance, ...]:
    return utterances(TRAIN) + utterances(DEV)


class TestRows:
    def test_what_the_task_is(self, task: Task) -> None:
        assert (task.name, task.kind, task.metric) == ("intents", "classification", "accuracy")
        assert not task.pairs
        assert len(task.labels) >= 16
        assert "out_of_scope" in task.labels
        assert 5_000 <= len(task.train) <= 7_000
        assert 1_000 <= len(task.dev) <= 1_500

    @pytest.mark.parametrize("split", [TRAIN, DEV])
    def test_labels_are_balanced(self, task: Task, split: str) -> None:
        counts = Counter(row.label for row in getattr(task, split))
        rest = counts.pop("out_of_scope")
        assert set(counts) | {"out_of_scope"} == set(task.labels)
        assert len(set(counts.values())) == 1
        assert rest <= 0.1 * len(getattr(task, split))

    def test_every_beginning_is_a_fair_sample(self, task: Task) -> None:
        first = load_task("intents", limit=1_000)
        assert first.train == task.train[:1_000]
        assert first.dev == task.dev
        counts = Counter(row.label for row in first.train)
        expected = 1_000 * 200 / len(task.train)
        assert set(counts) == set(task.labels)
        assert min(counts.values()) > expected / 2

    def test_texts_are_what_a_recogniser_writes(self) -> None:
        for row in both():
            assert re.fullmatch(r"[a-z']+( [a-z']+)*", row.heard), row.heard
            assert re.fullmatch(r"[a-z']+( [a-z']+)*", row.spoken), row.spoken

    def test_no_sentence_twice_and_none_with_two_labels(self) -> None:
        heard = [row.heard for row in both()]
        assert len(heard) == len(set(heard))
        intents = {row.spoken: row.intent for row in both()}
        assert all(intents[row.spoken] == row.intent for row in both())


class TestSameEverywhere:
    def test_drawn_again(self) -> None:
        before = both()
        utterances.cache_clear()
        assert both() == before

    @pytest.mark.parametrize("hash_seed", ["0", "4711"])
    def test_in_another_process(self, hash_seed: str) -> None:
        printed = subprocess.run(
            [sys.executable, "-c", DIGEST_OF_ROWS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert printed.strip() == DIGEST

    def test_as_ever(self, task: Task) -> None:
        found = hashlib.sha256(repr((task.train, task.dev)).encode()).hexdigest()
        assert found == DIGEST


class TestSplits:
    def test_no_template_serves_both(self) -> None:
        """Stronger than comparing lines: no two of them can make the same sentence."""
        made = {
            split: {
                sentence
                for templates in grammar().templates.values()
                for template in templates[split]
                for sentence in expansions(parse(template))
            }
            for split in (TRAIN, DEV)
        }
        assert min(map(len, made.values())) > 500
        assert not made[TRAIN] & made[DEV]

    def test_no_train_sentence_in_dev(self) -> None:
        train, dev = utterances(TRAIN), utterances(DEV)
        for text in ("heard", "spoken"):
            assert not {getattr(r, text) for r in train} & {getattr(r, text) for r in dev}

    @pytest.mark.parametrize("name", sorted(grammar().slots))
    def test_train_never_says_the_values_kept_for_dev(self, name: str) -> None:
        values = grammar().slots[name]
        assert not set(values.usual) & set(values.unseen)
        others = {v for slot, found in grammar().slots.items() if slot != name for v in found.usual}
        kept = set(values.unseen) - others  # "four" may be an hour for dev, a number for both
        said: dict[str, set[object]] = {TRAIN: set(), DEV: set()}
        for split in (TRAIN, DEV):
            speaker = Speaker(grammar(), split, Random(1))
            for _ in range(300):
                speaker.say(parse(f"{{{name}}}"))
                said[split].update(speaker.said)
        assert not said[TRAIN] & kept
        assert kept <= said[DEV]

    def test_every_template_is_used(self) -> None:
        for split in (TRAIN, DEV):
            used = {(row.intent, row.template) for row in utterances(split)}
            written = grammar().templates.items()
            assert used == {(i, line) for i, splits in written for line in splits[split]}


class TestSpeech:
    def test_nobody_says_from_red_to_red(self) -> None:
        speaker = Speaker(grammar(), TRAIN, Random(2))
        template = parse("{colour} x {colour}")
        for _ in range(300):
            words = " ".join(word.text for word in speaker.say(template))
            first, second = words.split(" x ")
            colours = {" ".join(w.text for w in value) for value in grammar().slots["colour"].usual}
            before = max((c for c in colours if first.endswith(c)), key=len)
            after = max((c for c in colours if second.startswith(c)), key=len)
            assert before != after

    @given(seed=st.integers(0, 10**6), index=st.integers(0, 10**6))
    def test_deciding_words_survive_the_noise_in_order(self, seed: int, index: int) -> None:
        rng = Random(seed)
        written = list(grammar().templates.values())[index % len(grammar().templates)][TRAIN]
        words = Speaker(grammar(), TRAIN, rng).say(parse(written[index % len(written)]))
        heard = iter(hear(words, rng).split())
        assert all(word.text in heard for word in words if word.decides)  # consumes `heard`

    def test_noise_touches_the_stated_share(self) -> None:
        for split in (TRAIN, DEV):
            rows = utterances(split)
            share = sum(row.heard != row.spoken for row in rows) / len(rows)
            assert share == pytest.approx(NOISY, abs=0.03)

    def test_all_kinds_of_noise_occur(self) -> None:
        heard = " ".join(row.heard for row in utterances(TRAIN) if row.heard != row.spoken)
        for trace in (" um ", "the the", " chicken ", "bed room", " too ", "tim "):
            assert trace in heard
        assert any(row.spoken.startswith(row.heard) for row in both() if row.heard != row.spoken)
        lost = [row for row in both() if len(row.heard.split()) < len(row.spoken.split())]
        assert lost

    def test_noise_leaves_most_of_a_sentence(self) -> None:
        changed = [
            len(set(row.spoken.split()) - set(row.heard.split())) / len(set(row.spoken.split()))
            for row in both()
        ]
        assert np.mean(changed) < 0.15


class TestTemplates:
    def test_notation(self) -> None:
        found = set(expansions(parse("[please|now] (turn|switch) it on! {room!}")))
        heads, verbs = ("", "please ", "now "), ("turn", "switch")
        assert found == {f"{head}{verb} it on {{room}}" for head in heads for verb in verbs}
        assert parse("on!") == (Word("on", decides=True),)

    @pytest.mark.parametrize(
        "text", ["(a", "a)", "[a)", "(a [b)", "a|b", "{a", "a}", "(a|b)!", "{}"]
    )
    def test_mistakes_are_named(self, text: str) -> None:
        with pytest.raises(DataError, match=re.escape(repr(text))):
            parse(text)

    def test_slots_of_the_grammar_exist(self) -> None:
        for templates in grammar().templates.values():
            for line in (*templates[TRAIN], *templates[DEV]):
                assert set(re.findall(r"\{(\w+)", line)) <= set(grammar().slots), line


class TestFiles:
    def test_load_back_to_the_same_rows(self, task: Task, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "intents"
        assert write_tables(folder) == (folder / "train.tsv", folder / "dev.tsv")
        assert load_task(str(folder)) == task
        assert sorted(path.name for path in folder.iterdir()) == ["dev.tsv", "train.tsv"]
        assert (folder / "dev.tsv").read_text().startswith("sentence\tlabel\n")

    @pytest.mark.parametrize("taken", ["train.tsv", "dev.tsv"])
    def test_never_replace_what_is_there(self, tmp_path: Path, taken: str) -> None:
        (tmp_path / taken).write_text("mine")
        with pytest.raises(UsageError, match=taken) as caught:
            write_tables(tmp_path)
        assert caught.value.hint
        assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]

    def test_command(self, task: Task, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "edgetran_host.tasks.intents", str(tmp_path / "rows")]
        first = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (first.returncode, first.stderr) == (0, "")
        assert [Path(line).name for line in first.stdout.splitlines()] == ["train.tsv", "dev.tsv"]
        assert load_task(str(tmp_path / "rows")).dev == task.dev
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "already" in again.stderr
        assert "Traceback" not in again.stderr

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(UsageError, match="cannot be written"):
            write_tables(tmp_path / "file" / "below")

    def test_wheel_makes_the_same_rows(self, root: Path, tmp_path: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
            cwd=root / "host",
            capture_output=True,
            check=True,
        )
        (wheel,) = tmp_path.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
        unpacked = tmp_path / "site" / "edgetran_host" / "tasks" / "intents"
        assert (unpacked / "README.md").read_bytes() == README.read_bytes()
        printed = subprocess.run(
            [sys.executable, "-c", f"import edgetran_host as e; print(e.__file__){DIGEST_OF_ROWS}"],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert printed[0].startswith(str(tmp_path))
        assert printed[1] == DIGEST


class TestReadme:
    def test_counts(self, readme: str, task: Task) -> None:
        assert f"of {len(task.labels)} intents" in readme
        for split in (TRAIN, DEV):
            counts = Counter(row.intent for row in utterances(split))
            templates = sum(len(found[split]) for found in grammar().templates.values())
            each, rest = counts["lights_on"], counts["out_of_scope"]
            line = f"| {split} | {len(utterances(split)):,} | {each}, `out_of_scope` {rest} |"
            assert f"{line} {templates} |" in readme

    def test_an_example_of_every_intent(self, readme: str, task: Task) -> None:
        shown = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", readme, re.MULTILINE)
        assert sorted(intent for intent, _ in shown) == list(task.labels)
        assert set(shown) <= {(row.intent, row.heard) for row in utterances(TRAIN)}

    def test_shares(self, readme: str, task: Task) -> None:
        phrases = [" ".join(w.text for w in c) for c in grammar().speech.corrections]
        corrected = [any(f" {p} " in f" {row.spoken} " for p in phrases) for row in both()]
        assert f"in {_percent(FALSE_START)} of the rows, another request" in readme
        # Besides whole requests, single values are corrected now and then.
        assert FALSE_START - 0.01 < np.mean(corrected) < FALSE_START + 0.05
        assert f"Slips in {_percent(NOISY)} of the rows" in readme
        assert f"In dev {_percent(UNSEEN)} of the values" in readme
        top = Counter(row.label for row in task.dev).most_common(1)[0][1] / len(task.dev)
        assert f"most frequent intent | {_percent(top)}" in readme

    def test_a_bag_of_words_does_not_suffice(self, readme: str, task: Task) -> None:
        floor = floor_score(task).value
        assert FLOOR[0] <= floor <= FLOOR[1]
        assert 100 * floor == pytest.approx(_stated(readme, "`floor_score`"), abs=1)

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_a_small_transformer_does(self, readme: str, task: Task, tmp_path: Path) -> None:
        from edgetran_host.models.seeds import load_seed, seed_model
        from edgetran_host.training import effort, fine_tune, predict

        seed = load_seed("minilm")
        length = choose_sequence_length(seed.tokenizer_json, task)
        model = seed_model(seed, len(task.labels), length)
        train = encode(seed.tokenizer_json, task.train, length, task)
        recipe = effort("quick").seed_recipe
        fine_tune(model, train, task, recipe, checkpoint=tmp_path / "state")
        outputs = predict(model, encode(seed.tokenizer_json, task.dev, length, task))
        reached = score(task, outputs).value
        assert MINILM[0] <= reached <= MINILM[1]
        assert 100 * reached == pytest.approx(_stated(readme, "MiniLM-L6"), abs=2)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _stated(readme: str, who: str) -> int:
    (line,) = [line for line in readme.splitlines() if line.startswith("|") and who in line]
    return int(line.split("|")[-2].strip().removesuffix(" %"))
