"""Takes a model's weights over into another architecture, by an explicit map of their parts."""

from edgetran_host.transfer.plan import ShrinkPlan, plan_shrink
from edgetran_host.transfer.saliency import Saliency, measure_saliency
from edgetran_host.transfer.shrink import shrink
from edgetran_host.transfer.transfer import transfer
from edgetran_host.transfer.weight_map import WeightMap

__all__ = [
    "Saliency",
    "ShrinkPlan",
    "WeightMap",
    "measure_saliency",
    "plan_shrink",
    "shrink",
    "transfer",
]
