"""What feeds the array: tiles, taps, padding, rotation."""

from .feeder import Feeder

__all__ = ["Feeder"]
