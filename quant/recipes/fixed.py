"""Uniform fixed point, the baseline: the same bits for every filter, ``bits`` weights and ``act_bits`` activations."""

from spec.numerics import Scheme

from .plan import Plan, Request, uniform

__all__ = ["plan"]


def plan(request: Request) -> Plan:
    """Options: ``bits`` (8), ``act_bits`` (8), ``ends`` (bits of the first and the last layer, those of all others)."""
    bits = request.options.get("bits", 8)
    schemes = uniform(request, Scheme(bits))
    for layer in (*request.convolutions[:1], *request.convolutions[-1:]):
        schemes[layer.name][:] = request.options.get("ends", bits)
    return Plan(schemes, request.options.get("act_bits", 8))
