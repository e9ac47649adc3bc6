"""Takes a model's weights over into another architecture, by an explicit map of their parts."""

from edgetran_host.transfer.growth import Edit, add_heads, add_layer, add_stack, widen
from edgetran_host.transfer.plan import ShrinkPlan, plan_shrink
from edgetran_host.transfer.planning import nearest_map, prefix_map, salient_map
from edgetran_host.transfer.saliency import Saliency, measure_saliency
from edgetran_host.transfer.share import Share, measure_share
from edgetran_host.transfer.shrink import shrink
from edgetran_host.transfer.transfer import transfer
from edgetran_host.transfer.weight_map import WeightMap

__all__ = [
    "Edit",
    "Saliency",
    "Share",
    "ShrinkPlan",
    "WeightMap",
    "add_heads",
    "add_layer",
    "add_stack",
    "measure_saliency",
    "measure_share",
    "nearest_map",
    "plan_shrink",
    "prefix_map",
    "salient_map",
    "shrink",
    "transfer",
    "widen",
]
