"""Where the pixels of a value lie in an activation memory: planes, views and tap tables (docs/architecture.md)."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np

from spec.operators.windows import Window
from spec.views import ADDRESSES, BANKS, fields_of

__all__ = ["Placement"]


@dataclass(frozen=True)
class Placement:
    """A region of ``height`` x ``width`` pixels of a value at word ``base`` of memory ``mem``, in ``phases`` (rows,
    columns) planes.

    ``pitch`` is the distance of plane rows in pixels; ``groups`` the channel groups, of the value those from ``first``
    on; ``pixels`` the banks. So many neighbours of a row as are visited ``at_once`` lie in banks of different
    remainders of a division by that number, for planes of odd columns begin half of it further; of those from an odd
    column on, that is not true of the last.
    """
    mem: int
    base: int
    height: int
    width: int
    phases: tuple[int, int]
    pitch: int
    groups: int
    pixels: int
    at_once: int
    _: KW_ONLY
    first: int = 0

    @property
    def words(self) -> int:
        """Words of all planes in each bank."""
        return self.plane(self.phases[0], 0)

    def plane(self, py: int, px: int) -> int:
        """Word offset of a plane from ``base``."""
        pixels = -(-self.height // self.phases[0]) * self.pitch
        sizes = [-(-(pixels + self.shift(p)) // self.pixels) * self.groups for p in range(self.phases[1])]
        return py * sum(sizes) + sum(sizes[:px])

    def ranges(self, y0: int, y1: int) -> Iterator[tuple[int, int]]:
        """First word and end of what each plane has of some rows."""
        for py, px in np.ndindex(*self.phases):
            low, high = (max(0, -(-(y - py) // self.phases[0])) * self.pitch + self.shift(px) for y in (y0, y1))
            if low < high:
                start = self.base + self.plane(py, px)
                yield start + low // self.pixels * self.groups, start + -(-high // self.pixels) * self.groups

    def shift(self, px: int) -> int:
        """Banks from the first one to the first pixel of a plane."""
        return px % 2 * (self.at_once // 2)

    def spot(self, py: int, px: int, row: int, col: int, group: int = 0) -> tuple[int, int]:
        """(address, bank) of pixel (row, col) of a plane."""
        q = row * self.pitch + col + self.shift(px)
        return self.base + self.plane(py, px) + q // self.pixels * self.groups + group, q % self.pixels

    def view(self, prefix: str, *, y: int = 0, x: int = 0, start_x: int = 0, group: int = 0) -> dict[str, int]:
        """View fields of the region from row ``y``, column ``x`` on, whose first pixel is ``start_x`` further right.

        A view walks over two planes in each direction at most.
        """
        out: dict[str, int] = {}
        assert max(self.phases) <= 2
        fy, fx = (count == 2 for count in self.phases)
        for py in range(2):
            for px in range(2):
                row = (y + (py != y % 2)) // 2 if fy else y
                col = (x + (px != x % 2)) // 2 if fx else x
                addr, bank = self.spot(py * fy, px * fx, row, col, group)
                out[f"row_addr{2 * py + px}"], out[f"row_bank{2 * py + px}"] = addr, bank
        first = x + start_x
        for px in range(2):
            row = y // 2 if fy else y
            col = (first + (px != first % 2)) // 2 if fx else first
            out[f"cur_addr{px}"], out[f"cur_bank{px}"] = self.spot(y % 2 * fy, px * fx, row, col, group)
        out |= {"step_addr": self.pitch // self.pixels * self.groups, "step_bank": self.pitch % self.pixels,
                "groups": self.groups, "phase_x": int(fx), "phase_y": int(fy), "par_x": int(fx and x % 2),
                "par_y": int(fy and y % 2)}
        return fields_of(out, prefix)

    def spread(self, prefix: str, up: tuple[int, int], apart: int, *, y: int, x: int) -> dict[str, int]:
        """View fields of the region from row ``y``, column ``x`` on of the map in which each pixel of this one, which
        is in one plane, has become ``up`` pixels: those of each parity are ``apart`` channel groups."""
        return _Spread(self.mem, self.base, self.height, self.width, up, self.pitch, self.groups, self.pixels,
                       self.at_once, apart).view(prefix, y=y, x=x)

    def line(self, prefix: str, *, y: int, x: int, step: int = 1, group: int = 0) -> dict[str, int]:
        """View fields of single pixels, each a row of its own: (y, x), then always ``step`` pixels of its plane further
        right; from channel group ``group`` on."""
        (fy, fx), (words, banks) = self.phases, divmod(step, self.pixels)
        addr, bank = self.spot(y % fy, x % fx, y // fy, x // fx, group)
        out = dict.fromkeys(ADDRESSES, addr) | dict.fromkeys(BANKS, bank)
        out |= dict.fromkeys(("phase_x", "phase_y", "par_x", "par_y"), 0)
        return fields_of(out | {"step_addr": words * self.groups, "step_bank": banks, "groups": self.groups}, prefix)

    def taps(self, kernel: tuple[int, int], offset: tuple[int, int],
             dilation: tuple[int, int] = (1, 1), back: int = 0) -> list[dict[str, int]]:
        """Tap records for a kernel; ``offset`` (y, x) is the region's pixel that output pixel (0, 0) reads at kernel
        (0, 0). So many pixels ``back`` in their plane, for lanes that begin as many before that of the output."""
        out = []
        for ky in range(kernel[0]):
            for kx in range(kernel[1]):
                ty, tx = offset[0] + ky * dilation[0], offset[1] + kx * dilation[1]
                py, dy, rows = self._axis(ty, self.phases[0], self.height)
                px, dx, cols = self._axis(tx, self.phases[1], self.width)
                dx -= back
                q = dy * self.pitch + dx + self.shift(px)
                out.append({"addr": self.plane(py, px) + q // self.pixels * self.groups, "rot": q % self.pixels,
                            "dy": dy, "dx": dx, "rows": rows, "cols": cols})
        return out

    def line_taps(self, window: Window, first: tuple[int, int], row: int, step: int) -> list[dict[str, int]]:
        """Tap records for the windows of a :meth:`line` from column 0 of ``row`` on, of which every ``step``-th is one:
        the first reads the region's pixel ``first`` (y, x) at its first position. One plane."""
        out, apart = [], step * window.stride[1]
        for ky, kx in np.ndindex(*window.kernel):
            y, x = first[0] + ky * window.dilation[0], first[1] + kx * window.dilation[1]
            words, rot = divmod((y - row) * self.pitch + x, self.pixels)
            inside = (self.width - x % apart + apart - 1) // apart if 0 <= y < self.height else 0
            out.append({"addr": words * self.groups, "rot": rot, "dy": x // apart, "dx": 0, "rows": inside, "cols": 1})
        return out

    @staticmethod
    def _axis(t, planes, size):
        """Plane, plane offset and plane size along one axis."""
        return t % planes, t // planes, (size - t % planes + planes - 1) // planes


@dataclass(frozen=True)
class _Spread(Placement):
    """One plane that is walked over as if it were several, which are ``apart`` channel groups."""
    apart: int

    def plane(self, py: int, px: int) -> int:
        return (py * self.phases[1] + px) * self.apart

    def shift(self, px: int) -> int:
        return 0
