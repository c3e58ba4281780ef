"""Where the pixels of a value lie in an activation memory: planes, views and tap tables (docs/architecture.md)."""

from dataclasses import dataclass

from spec.views import fields_of

__all__ = ["Placement"]


@dataclass(frozen=True)
class Placement:
    """A region of ``height`` x ``width`` pixels of a value at word ``base`` of memory ``mem``.

    ``pitch`` is the distance of plane rows in pixels; ``groups`` the channel groups; ``pixels`` the banks.
    """
    mem: int
    base: int
    height: int
    width: int
    phases: tuple[bool, bool]
    pitch: int
    groups: int
    pixels: int

    @property
    def plane_words(self) -> int:
        """Words of one plane in each bank."""
        rows = -(-self.height // 2) if self.phases[0] else self.height
        return -(-rows * self.pitch // self.pixels) * self.groups

    @property
    def words(self) -> int:
        """Words of all planes in each bank."""
        return (1 + self.phases[0]) * (1 + self.phases[1]) * self.plane_words

    def plane(self, py: int, px: int) -> int:
        """Word offset of a plane from ``base``."""
        return (py * (1 + self.phases[1]) + px) * self.plane_words

    def spot(self, py: int, px: int, row: int, col: int, group: int = 0) -> tuple[int, int]:
        """(address, bank) of pixel (row, col) of a plane."""
        q = row * self.pitch + col
        return self.base + self.plane(py, px) + q // self.pixels * self.groups + group, q % self.pixels

    def view(self, prefix: str, *, y: int = 0, x: int = 0, start_x: int = 0, group: int = 0) -> dict[str, int]:
        """View fields of the region from row ``y``, column ``x`` on, whose first pixel is ``start_x`` further right."""
        out: dict[str, int] = {}
        fy, fx = self.phases
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

    def taps(self, kernel: tuple[int, int], offset: tuple[int, int],
             dilation: tuple[int, int] = (1, 1)) -> list[dict[str, int]]:
        """Tap records for a kernel; ``offset`` (y, x) is the region's pixel that output pixel (0, 0) reads at kernel
        (0, 0)."""
        out = []
        for ky in range(kernel[0]):
            for kx in range(kernel[1]):
                ty, tx = offset[0] + ky * dilation[0], offset[1] + kx * dilation[1]
                py, dy, rows = self._axis(ty, self.phases[0], self.height)
                px, dx, cols = self._axis(tx, self.phases[1], self.width)
                q = dy * self.pitch + dx
                out.append({"addr": self.plane(py, px) + q // self.pixels * self.groups, "rot": q % self.pixels,
                            "dy": dy, "dx": dx, "rows": rows, "cols": cols})
        return out

    @staticmethod
    def _axis(t, split, size):
        """Plane parity, plane offset and plane size along one axis."""
        return (t % 2, t // 2, (size - t % 2 + 1) // 2) if split else (0, t, size)
