"""Images in DRAM as LOAD_ACT reads them: rows of bytes, of which every pixel takes a window."""

from collections.abc import Mapping

import numpy as np

__all__ = ["OUTSIDE", "image_rows", "windows_of"]

OUTSIDE = -1


def image_rows(command: Mapping[str, int]) -> int:
    """Rows that a LOAD_ACT of an image reads."""
    return (command["rows"] << command["pair"]) - command["above"] - command["below"]


def windows_of(command: Mapping[str, int], ic: int) -> np.ndarray:
    """Where the bytes of all windows come from: offsets from ``dram``, (rows, cols, ``ic``); :data:`OUTSIDE` where a
    byte is none of the image's."""
    pair, first = command["pair"], ic // 2 if command["pair"] else ic
    channel = np.arange(ic)
    second = channel >= first
    row = (np.arange(command["rows"])[:, None, None] << pair) + second - command["above"]
    byte = np.arange(command["cols"])[:, None] * command["step"] - command["before"] + channel - first * second
    inside = (row >= 0) & (row < image_rows(command)) & (byte >= 0) & (byte < command["bytes"])
    return np.where(inside, row * command["stride"] + byte, OUTSIDE)
