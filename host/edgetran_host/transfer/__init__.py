"""Turns a trained model into a smaller one that starts from its most important weights."""

from edgetran_host.transfer.plan import ShrinkPlan, plan_shrink
from edgetran_host.transfer.saliency import Saliency, measure_saliency
from edgetran_host.transfer.shrink import shrink

__all__ = ["Saliency", "ShrinkPlan", "measure_saliency", "plan_shrink", "shrink"]
