"""Tasks load whole from files and folders, or are refused in one line that says what to do."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from edgetran_host.tasks import CLASSIFICATION, REGRESSION, Row, Task, load_task
from edgetran_host.tasks.task import label_order
from hypothesis import given
from hypothesis import strategies as st

Refused = Callable[..., AbstractContextManager[None]]

TRAIN = "sentence\tlabel\ngood film\t1\nbad film\t0\nfine film\t1\n"
DEV = "sentence\tlabel\nthe film\t0\n"


def folder(path: Path, **files: str) -> str:
    """Keyword `train_tsv` is the file train.tsv."""
    for name, text in files.items():
        (path / name.replace("_tsv", ".tsv").replace("_csv", ".csv")).write_text(text)
    return str(path)


def csv_file(path: Path, labels: Sequence[object]) -> str:
    path.write_text("text,label\n" + "".join(f"t{i},{x}\n" for i, x in enumerate(labels)))
    return str(path)


class TestGlue:
    @pytest.mark.parametrize(
        ("name", "rows", "labels", "pairs", "metric"),
        [
            ("SST-2", (67_349, 872), ("0", "1"), False, "accuracy"),
            ("CoLA", (8_551, 1_043), ("0", "1"), False, "matthews"),
            ("MRPC", (3_667, 408), ("0", "1"), True, "accuracy_f1"),
            ("RTE", (2_490, 277), ("entailment", "not_entailment"), True, "accuracy"),
            ("STS-B", (5_749, 1_500), (), True, "pearson_spearman"),
            ("WNLI", (635, 71), ("0", "1"), True, "accuracy"),
            ("QNLI-mini", (4_380, 1_083), ("entailment", "not_entailment"), True, "accuracy"),
        ],
    )
    def test_task(
        self,
        shared: Path,
        name: str,
        rows: tuple[int, int],
        labels: tuple[str, ...],
        pairs: bool,
        metric: str,
    ) -> None:
        task = load_task(str(shared / "data" / "glue" / name))
        assert (task.name, len(task.train), len(task.dev)) == (name, *rows)
        assert (task.labels, task.pairs, task.metric) == (labels, pairs, metric)
        assert task.kind == (CLASSIFICATION if labels else REGRESSION)
        for row in (*task.train, *task.dev):
            assert row.text
            assert bool(row.text_pair) == pairs
            assert row.label in labels if labels else 0 <= float(row.label) <= 5

    def test_quotes_stay(self, shared: Path) -> None:
        """Counted in the raw file, without any reader."""
        path = shared / "data" / "glue" / "MRPC"
        raw = (path / "train.tsv").read_text(encoding="utf-8")
        train = load_task(str(path)).train
        assert sum(f"{row.text}{row.text_pair}".count('"') for row in train) == raw.count('"') > 0
        assert train[0].text.count('"') == 2

    def test_cola_starts_with_its_first_line(self, shared: Path) -> None:
        task = load_task(str(shared / "data" / "glue" / "CoLA"))
        assert task.train[0] == Row(
            "Our friends won't buy this analysis, let alone the next one we propose.", None, "1"
        )


class TestFolder:
    @pytest.mark.parametrize("dev", ["dev", "validation", "valid", "val", "dev_matched"])
    def test_names_of_the_second_split(self, tmp_path: Path, dev: str) -> None:
        task = load_task(folder(tmp_path, train_tsv=TRAIN, **{f"{dev}_tsv": DEV}))
        assert task.name == tmp_path.name
        assert task.train[1] == Row("bad film", None, "0")
        assert task.dev == (Row("the film", None, "0"),)

    def test_formats_may_differ(self, tmp_path: Path) -> None:
        (tmp_path / "train.json").write_text(
            json.dumps([{"text": "a", "label": True}, {"text": "b", "label": False}])
        )
        (tmp_path / "dev.jsonl").write_text('{"label": true, "text": "c"}\n')
        task = load_task(str(tmp_path))
        assert task.labels == ("False", "True")
        assert task.dev == (Row("c", None, "True"),)

    def test_regression(self, tmp_path: Path) -> None:
        rows = "sentence1\tsentence2\tscore\na\tb\t2.5\nc\td\t5\n"
        task = load_task(folder(tmp_path, train_tsv=rows, dev_tsv=rows))
        assert (task.kind, task.labels, task.metric) == (REGRESSION, (), "pearson_spearman")
        assert [row.label for row in task.train] == [2.5, 5.0]

    @pytest.mark.parametrize("name", ["mrpc", "QQP", "CoLA"])
    def test_metrics_of_two_labels_are_not_used_for_three(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        rows = "text,label\na,0\nb,1\nc,2\n"
        task = load_task(folder(tmp_path / name, train_csv=rows, dev_csv=rows))
        assert task.metric == "accuracy"

    @pytest.mark.parametrize(
        ("files", "words"),
        [
            ({}, ["no train file", "train.tsv"]),
            ({"dev_tsv": DEV}, ["no train file", "train.tsv"]),
            ({"train_tsv": TRAIN}, ["no dev file", "dev.tsv"]),
            (
                {"train_tsv": TRAIN, "train_csv": TRAIN, "dev_tsv": DEV},
                ["several train files: train.tsv, train.csv", "keep one"],
            ),
            (
                {"train_tsv": TRAIN, "dev_tsv": DEV, "val_tsv": DEV},
                ["several dev files: dev.tsv, val.tsv"],
            ),
            ({"train_tsv": TRAIN, "dev_tsv": ""}, ["dev.tsv is empty"]),
            ({"train_tsv": "sentence\tlabel\n", "dev_tsv": DEV}, ["train.tsv", "no rows"]),
            ({"train_tsv": TRAIN, "dev_tsv": "sentence\tlabel\n"}, ["dev.tsv", "no rows"]),
            ({"train_tsv": TRAIN, "dev_tsv": "text\tlabel\na\t0\n"}, ["dev.tsv", "sentence"]),
            (
                {"train_tsv": TRAIN, "dev_tsv": DEV + "a\t2\nb\tmany\n"},
                ["dev has labels that train lacks: '2', 'many'", "'0', '1'"],
            ),
            (
                {"train_tsv": "sentence\tlabel\na\t1\nb\t1\n", "dev_tsv": DEV},
                ["all 2 training rows have the label '1'"],
            ),
            (
                {"train_tsv": "sentence\tlabel\na\t0.5\nb\t0.5\n", "dev_tsv": DEV},
                ["all 2 training rows have the label 0.5"],
            ),
            (
                {"train_tsv": "sentence\tlabel\na\t0.5\nb\t1\n", "dev_tsv": DEV + "x\tn/a\n"},
                ["dev.tsv, line 3", "'n/a' is no number"],
            ),
            (
                {"train_tsv": "sentence\tlabel\na\t0.5\nb\tnan\nc\t1\n", "dev_tsv": DEV},
                ["train.tsv, line 3", "'nan' is no number"],
            ),
        ],
    )
    def test_refusals(
        self, tmp_path: Path, refused: Refused, files: dict[str, str], words: list[str]
    ) -> None:
        with refused(*words):
            load_task(folder(tmp_path, **files))

    def test_many_strange_labels_are_counted_not_listed(
        self, tmp_path: Path, refused: Refused
    ) -> None:
        dev = "sentence\tlabel\n" + "".join(f"a\tnew{i}\n" for i in range(30))
        with refused("'new0'", "and 25 more"):
            load_task(folder(tmp_path, train_tsv=TRAIN, dev_tsv=dev))


class TestFile:
    @pytest.mark.parametrize("suffix", [".csv", ".CSV"])
    def test_every_row_is_in_one_half(self, tmp_path: Path, suffix: str) -> None:
        source = csv_file(tmp_path / f"mail{suffix}", ["spam", "ham"] * 50)
        task = load_task(source)
        assert task.name == "mail"
        assert (len(task.train), len(task.dev)) == (90, 10)
        texts = [row.text for row in (*task.train, *task.dev)]
        assert sorted(texts) == sorted(f"t{i}" for i in range(100))
        assert load_task(source) == task

    def test_no_label_goes_to_dev_alone(self, tmp_path: Path) -> None:
        rng = random.Random(1)
        for _ in range(20):
            labels = [f"rare{i}" for i in range(10)] + ["often"] * 30
            rng.shuffle(labels)
            task = load_task(csv_file(tmp_path / "rows.csv", labels))
            assert len(task.dev) == 4
            assert task.labels == label_order(set(labels))

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_too_few_rows(self, tmp_path: Path, refused: Refused, count: int) -> None:
        with refused(f"{count} rows, too few", "train and a dev file"):
            load_task(csv_file(tmp_path / "rows.csv", ["a", "b", "a", "b"][:count]))

    def test_every_row_its_own_label(self, tmp_path: Path, refused: Refused) -> None:
        source = csv_file(tmp_path / "rows.csv", [f"customer {i}" for i in range(500)])
        with refused("500 different labels in 500 rows", "right column", "text, label"):
            load_task(source)

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("", ["''", "no such file", "hf:NAME"]),
            ("nowhere", ["'nowhere'", "no such file", "hf:NAME"]),
            ("nowhere.csv", ["'nowhere.csv'", "no such file"]),
            ("notes.txt", ["notes.txt is no", ".csv"]),
            ("~nobody-of-that-name/rows.csv", ["no such file"]),
            ("a" * 5000, ["cannot be read", "hf:NAME"]),
            ("\0", ["no such file"]),
        ],
    )
    def test_refusals(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        refused: Refused,
        source: str,
        words: list[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("notes.txt").write_text("text,label\n")
        with refused(*words):
            load_task(source)

    def test_a_folder_with_the_name_of_a_file(self, tmp_path: Path, refused: Refused) -> None:
        (tmp_path / "rows.csv").mkdir()
        with refused("rows.csv has no train file"):
            load_task(str(tmp_path / "rows.csv"))


class TestLimit:
    @staticmethod
    def load(path: Path, labels: Sequence[object], limit: int | None) -> Task:
        source = csv_file(path / "train.csv", labels)
        csv_file(path / "dev.csv", [labels[0], labels[-1]])
        return load_task(str(Path(source).parent), limit)

    def test_first_rows(self, tmp_path: Path) -> None:
        labels = ["a", "b", "c"] * 100
        whole = self.load(tmp_path, labels, None)
        assert self.load(tmp_path, labels, 30).train == whole.train[:30]
        assert self.load(tmp_path, labels, 300) == self.load(tmp_path, labels, 10**6) == whole

    def test_rows_in_the_order_of_their_labels(self, tmp_path: Path) -> None:
        """The first 60 would all be of one label."""
        labels = ["a"] * 100 + ["b"] * 100 + ["c"] * 100
        task = self.load(tmp_path, labels, 60)
        counts = Counter(row.label for row in task.train)
        assert sum(counts.values()) == len(set(task.train)) == 60
        assert min(counts[label] for label in "abc") >= 10
        assert task.labels == ("a", "b", "c")
        numbers = [int(row.text.removeprefix("t")) for row in task.train]
        assert numbers == sorted(numbers)
        assert self.load(tmp_path, labels, 60) == task

    def test_quantities_in_their_order(self, tmp_path: Path) -> None:
        task = self.load(tmp_path, [i / 4 for i in range(400)], 100)
        values = [float(row.label) for row in task.train]
        assert min(values) < 10
        assert max(values) > 90

    @pytest.mark.parametrize("limit", [0, 1])
    def test_nothing_to_learn_from(self, tmp_path: Path, refused: Refused, limit: int) -> None:
        with refused("train"):
            self.load(tmp_path, ["a", "b"] * 10, limit)


class TestLabels:
    @given(st.sets(st.text(max_size=4), min_size=1, max_size=8), st.randoms())
    def test_order_is_the_same_in_every_run(self, labels: set[str], rng: random.Random) -> None:
        mixed = sorted(labels)
        rng.shuffle(mixed)
        assert label_order(set(mixed)) == label_order(labels)
        assert Counter(label_order(labels)) == Counter(labels)

    def test_numbers_by_value(self) -> None:
        assert label_order({"10", "9", "-1", "0"}) == ("-1", "0", "9", "10")
        assert label_order({"1", "01", "001"}) == ("001", "01", "1")
        assert label_order({"10", "9", "x"}) == ("10", "9", "x")
        assert len(label_order({"9" * 5000, "1"})) == 2
