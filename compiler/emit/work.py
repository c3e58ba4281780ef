"""What the loop over the steps asks of the commands of an operation, whatever unit it runs on."""

from typing import Protocol

from ..plan import Strip
from .alternate import Job
from .buffers import Buffers
from .listing import Listing
from .movement import Source

__all__ = ["Work"]


class Work(Protocol):
    """The commands of one operation.

    ``depth`` : channel groups that each filter tile reads, 1 for a unit that takes one after the other.
    ``shared`` : whether all taps have the same k-words, which are loaded once.
    ``pixels`` : that are computed together.
    """
    depth: int
    shared: bool
    pixels: int

    def slots(self) -> list[tuple[int, int]]:
        """Of each output channel, as :class:`spec.program.Layer` has them."""

    def parts(self, strip: Strip) -> list[Strip]:
        """The parts of a strip that are worked on one after the other."""

    def pitch(self, strip: Strip) -> int:
        """Pixels from one row of a strip to the next, in the order of the work."""

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        """Add the commands of a strip; ``source`` loads its input, None if that is on the chip."""

    def job(self, strip: Strip, buffers: Buffers, listing: Listing) -> Job | None:
        """The commands of a strip whose input is on the chip, for a while beside those of the operation before or
        behind it; None if they must be added at once."""
