"""Fine-tuning and distillation of text models, resumable to the bit."""

from edgetran_host.training.distillation import Targets, distil, teacher_targets
from edgetran_host.training.fine_tuning import fine_tune
from edgetran_host.training.prediction import predict
from edgetran_host.training.recipes import Effort, Recipe, effort
from edgetran_host.training.teacher_states import Guide

__all__ = [
    "Effort",
    "Guide",
    "Recipe",
    "Targets",
    "distil",
    "effort",
    "fine_tune",
    "predict",
    "teacher_targets",
]
