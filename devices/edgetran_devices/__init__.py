"""The catalogue of boards that edgetran knows, and what a model would cost on them."""

from edgetran_devices.calibration import (
    RESIDENT,
    Calibration,
    Draw,
    NotCovered,
    predict_published,
)
from edgetran_devices.catalogue import (
    BoardSpec,
    UnitModel,
    UnknownBoard,
    load_board,
    names,
    own_folder,
    own_names,
    resolve,
)
from edgetran_devices.cost import predict
from edgetran_devices.modelling import figures
from edgetran_devices.prediction import Prediction

__all__ = [
    "RESIDENT",
    "BoardSpec",
    "Calibration",
    "Draw",
    "NotCovered",
    "Prediction",
    "UnitModel",
    "UnknownBoard",
    "figures",
    "load_board",
    "names",
    "own_folder",
    "own_names",
    "predict",
    "predict_published",
    "resolve",
]
