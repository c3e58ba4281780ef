"""The only place where memories are made."""

from amaranth.lib.memory import Memory

from spec.memories import Shape

__all__ = ["ram"]


def ram(shape: Shape) -> Memory:
    """A memory, which the synthesis is told of what to make if that matters."""
    attributes = {} if shape.ram == "any" else {"ram_style": shape.ram}
    return Memory(shape=shape.width, depth=shape.depth, init=[], attrs=attributes)
