"""The catalogue of boards that edgetran knows, and what a model would cost on them."""

from edgetran_devices.catalogue import (
    BoardSpec,
    UnitModel,
    UnknownBoard,
    load_board,
    names,
    resolve,
)
from edgetran_devices.cost import Prediction, predict

__all__ = [
    "BoardSpec",
    "Prediction",
    "UnitModel",
    "UnknownBoard",
    "load_board",
    "names",
    "predict",
    "resolve",
]
