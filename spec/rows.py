"""Taps in a row: filters of one channel each (depthwise) leave all but one channel of a k-step without work, so that
codes of the pixels before can come in the place of the others.

In such a k-step slot ``s`` multiplies the code of channel ``s`` of its own pixel, and on other lanes those of the same
channel of the pixels before, as far as they are in the same row. Slots 2p and 2p+1 of DSP columns, which share their
activations, may have each other's channel.
"""

__all__ = ["ROW_STEPS", "ROW_TAPS", "enough", "lane"]

ROW_TAPS = 3        # at most: of a pixel and of the two before
ROW_STEPS = 16      # k-steps of a tile, at most: what the feeder keeps of the tile before


def lane(own: int, before: int, together: int, ic: int) -> int:
    """The lane, of ``ic``, whose weight meets the code so many pixels ``before`` of the channel on lane ``own``, in a
    column of so many slots ``together``."""
    return (own + before * together) % ic


def enough(row_taps: int, ic: int, dsp_filters: int, lut_filters: int) -> bool:
    """Whether ``ic`` lanes do for so many taps in a row: a channel for each slot, and no lane twice in a column."""
    columns = (2 if dsp_filters else 1) * row_taps
    return row_taps == 1 or dsp_filters + lut_filters <= ic and columns <= ic
