"""Power-of-two, 4-bit and 8-bit filters in one ratio in every layer, by the weights alone
(:func:`quant.assign.assign`): the quickest mix."""

from ..assign import Ratio, assign
from .plan import Plan, Request

__all__ = ["plan"]


def plan(request: Request) -> Plan:
    """Options: ``ratio`` ("35:60:5" of PoT-4, fixed-4 and fixed-8), ``act_bits`` (5)."""
    ratio = Ratio.parse(request.options.get("ratio", "35:60:5"))
    schemes = {layer.name: assign(layer.weight.numpy(), ratio) for layer in request.convolutions}
    return Plan(schemes, request.options.get("act_bits", 5))
