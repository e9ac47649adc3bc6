"""A text task as data: rows, labels, metric; how it is read, encoded and scored."""

from edgetran_host.tasks.encoding import Encoded, choose_sequence_length, encode
from edgetran_host.tasks.floor import floor_score
from edgetran_host.tasks.loading import load_task
from edgetran_host.tasks.scoring import Scores, score
from edgetran_host.tasks.task import CLASSIFICATION, REGRESSION, Row, Task

__all__ = [
    "CLASSIFICATION",
    "REGRESSION",
    "Encoded",
    "Row",
    "Scores",
    "Task",
    "choose_sequence_length",
    "encode",
    "floor_score",
    "load_task",
    "score",
]
