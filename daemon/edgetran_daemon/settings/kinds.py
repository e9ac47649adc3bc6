"""Kinds of settings: what a text (command line, environment) or a value (TOML file) may be."""

from __future__ import annotations

import abc
import math
from pathlib import Path

from edgetran_daemon.serving.serving_rules import Batching
from edgetran_daemon.serving.worker_pythons import WorkerPythons

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Kind(abc.ABC):
    """`what` completes "it must be ..."; both methods raise ValueError when it is not."""

    what: str

    @abc.abstractmethod
    def of_text(self, text: str) -> object: ...

    @abc.abstractmethod
    def of_value(self, value: object) -> object: ...


class Text(Kind):
    def __init__(self, *choices: str) -> None:
        self.choices = choices
        self.what = f"one of {', '.join(choices)}" if choices else "a text in quotes"

    def of_text(self, text: str) -> str:
        if self.choices and text not in self.choices:
            raise ValueError(text)
        return text

    def of_value(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(value)
        return self.of_text(value)


class Place(Kind):
    what = "a path in quotes"

    def of_text(self, text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError(text)
        try:
            return Path(text).expanduser()
        except RuntimeError as exc:  # "~somebody", whom the system does not know
            raise ValueError(text) from exc

    def of_value(self, value: object) -> Path:
        if not isinstance(value, str):
            raise ValueError(value)
        return self.of_text(value)


class Batches(Kind):
    what = 'a text like "8" or "8:2 home=16:5": rows, milliseconds, for all or for one model'

    def of_text(self, text: str) -> Batching:
        return Batching.of_text(text)

    def of_value(self, value: object) -> Batching:
        if not isinstance(value, str):
            raise ValueError(value)
        return self.of_text(value)


class Pythons(Kind):
    what = 'a text like "tensorrt=/usr/bin/python3": runtimes and absolute paths'

    def of_text(self, text: str) -> WorkerPythons:
        return WorkerPythons.of_text(text)

    def of_value(self, value: object) -> WorkerPythons:
        """In a file it may be a table as well."""
        if isinstance(value, str):
            return self.of_text(value)
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ValueError(value)
        return WorkerPythons.of(value)


class Switch(Kind):
    what = "true or false"

    def of_text(self, text: str) -> bool:
        if text.lower() not in TRUE + FALSE:
            raise ValueError(text)
        return text.lower() in TRUE

    def of_value(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(value)
        return value


class Whole(Kind):
    def __init__(self, most: int) -> None:
        self.what = f"a whole number from 1 to {most}"
        self._most = most

    def of_text(self, text: str) -> int:
        return self.of_value(int(text))

    def of_value(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= self._most:
            raise ValueError(value)
        return value


class Positive(Kind):
    what = "a number above zero"

    def of_text(self, text: str) -> float:
        return self.of_value(float(text))

    def of_value(self, value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(value)
        if not 0 < value < math.inf:
            raise ValueError(value)
        return float(value)


class NotNegative(Kind):
    what = "a number, 0 or more"

    def of_text(self, text: str) -> float:
        return self.of_value(float(text))

    def of_value(self, value: object) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(value)
        if not 0 <= value < math.inf:
            raise ValueError(value)
        return float(value)
