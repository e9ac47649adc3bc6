"""Hugging Face data sets load by folder for real; what cannot be loaded is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import datasets
import pytest
from edgetran_host.tasks import CLASSIFICATION, REGRESSION, Row, load_task
from edgetran_host.tasks.hub import task_name

Refused = Callable[..., AbstractContextManager[None]]

SPLITS = {
    "train": {"text": ["good", "bad", "so, so"], "label": [1, 0, 1]},
    "validation": {"text": ['"fine"'], "label": [1]},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Data sets are prepared in the test's own folder, not in the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return


def save(
    folder: Path,
    splits: dict[str, dict[str, list[object]]],
    kind: str = "parquet",
    **features: object,
) -> str:
    folder.mkdir()
    for name, columns in splits.items():
        split = datasets.Dataset.from_dict(columns)
        for column, feature in features.items():
            split = split.cast_column(column, feature)
        write = {"parquet": split.to_parquet, "csv": split.to_csv, "jsonl": split.to_json}[kind]
        write(str(folder / f"{name}.{kind}"))
    return f"hf:{folder}"


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_folder(tmp_path: Path, kind: str) -> None:
    task = load_task(save(tmp_path / "films", SPLITS, kind))
    assert (task.name, task.kind, task.labels) == ("films", CLASSIFICATION, ("0", "1"))
    assert task.train == (Row("good", None, "1"), Row("bad", None, "0"), Row("so, so", None, "1"))
    assert task.dev == (Row('"fine"', None, "1"),)


def test_class_labels_keep_names_and_order(tmp_path: Path) -> None:
    """F1 counts label 1, so `equivalent` must not become 0 by its alphabet."""
    names = datasets.ClassLabel(names=["not_equivalent", "equivalent", "unused"])
    splits = {
        name: {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": labels}
        for name, labels in (("train", [1, 0]), ("validation", [0, 0]))
    }
    task = load_task(save(tmp_path / "mrpc", splits, label=names))
    assert task.labels == ("not_equivalent", "equivalent")
    assert task.metric == "accuracy_f1"
    assert [row.label for row in task.train] == ["equivalent", "not_equivalent"]


CONFIGURATIONS = """---
configs:
- config_name: cola
  data_files: [{split: train, path: train.csv}, {split: validation, path: validation.csv}]
- config_name: other
  data_files: [{split: train, path: validation.csv}, {split: validation, path: train.csv}]
---
"""


def test_a_configuration_names_the_data(tmp_path: Path) -> None:
    """And with it the metric."""
    source = save(tmp_path / "glue", SPLITS, "csv")
    (tmp_path / "glue" / "README.md").write_text(CONFIGURATIONS)
    task = load_task(f"{source}:cola")
    assert (task.name, task.metric, len(task.train)) == ("glue-cola", "matthews", 3)


def test_classes_named_by_numbers_are_no_quantities(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=[f"{i / 2}" for i in range(4)])
    splits = {name: {"text": list("abcd"), "label": [3, 2, 1, 0]} for name in SPLITS}
    task = load_task(save(tmp_path / "steps", splits, label=names))
    assert task.labels == ("0.0", "0.5", "1.0", "1.5")


def test_regression(tmp_path: Path) -> None:
    splits = {name: {"text": ["a", "b"], "label": [0.25, 1.0]} for name in SPLITS}
    task = load_task(save(tmp_path / "scores", splits))
    assert task.kind == REGRESSION
    assert [row.label for row in task.dev] == [0.25, 1.0]


def test_a_set_with_test_only_is_judged_on_it(tmp_path: Path) -> None:
    splits = {"train": SPLITS["train"], "test": SPLITS["validation"]}
    assert len(load_task(save(tmp_path / "films", splits)).dev) == 1


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": SPLITS["train"]}, ["the splits train;", "validation"]),
        (
            {"train": {"text": list("abc"), "label": [1, None, 0]}, "test": SPLITS["train"]},
            ["line 2", "label is empty"],
        ),
        (
            {
                "train": {"text": ["a", "b"], "label": [0.5, float("nan")]},
                "test": {"text": ["a"], "label": [0.5]},
            },
            ["line 2", "'nan' is no number"],
        ),
        (
            {name: {"text": [["a"], ["b"]], "label": [0, 1]} for name in SPLITS},
            ["text holds lists"],
        ),
        ({name: {"text": ["a", "b"], "label": [1, 1]} for name in SPLITS}, ["all 2 training"]),
    ],
)
def test_unfit_sets_are_refused(
    tmp_path: Path,
    refused: Refused,
    splits: dict[str, dict[str, list[object]]],
    words: list[str],
) -> None:
    source = save(tmp_path / "films", splits)
    with refused(*words):
        load_task(source)


@pytest.mark.parametrize("source", ["hf:nobody/no-such-set", "hf:nobody/set:config", "hf:"])
def test_unreachable_sets_are_refused(refused: Refused, source: str) -> None:
    assert datasets.config.HF_HUB_OFFLINE
    with refused(source, "local folder"):
        load_task(source)


def test_an_empty_folder_is_refused(tmp_path: Path, refused: Refused) -> None:
    with refused("cannot be loaded", "local folder"):
        load_task(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("source", "name", "known"),
    [
        ("nyu-mll/glue:cola", "nyu-mll-glue-cola", "cola"),
        ("glue:mrpc", "glue-mrpc", "mrpc"),
        ("someone/qqp", "someone-qqp", "qqp"),
        ("imdb", "imdb", "imdb"),
    ],
)
def test_names(source: str, name: str, known: str) -> None:
    assert task_name(source) == (name, known)
