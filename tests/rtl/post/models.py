"""Activation memories and tensors for the units that write codes."""

from random import Random

from spec import views
from spec.latency import GATHER

from ..command_models import tensor_view


class Memories:
    """Codes at random; gathers are answered, writes written down, and what is written counts from then on."""

    def __init__(self, unit, seed):
        self.unit, self.seed, self.written, self.cycle = unit, seed, {}, 0
        self.writes = []        # (cycle, place, codes by lane)
        self.gathers = 0

    def read(self, mem, bank, addr):
        codes = Random(f"{self.seed} {mem} {bank} {addr}").choices(range(256), k=self.unit.ic)
        return [self.written.get((mem, bank, addr, lane), code) for lane, code in enumerate(codes)]

    async def serve(self, ctx):
        unit, line = self.unit, [None] * (GATHER - 1)
        while True:
            asks, place, writes, write = (await ctx.tick().sample(
                unit.gather.en, unit.gather.place, unit.write.en, unit.write.word))[2:]
            self.gathers += asks
            line.append(self.read(place.mem, place.bank, place.addr) if asks else [170] * unit.ic)
            ctx.set(unit.gather.codes, line.pop(0))
            if writes:
                place = write.place.mem, write.place.bank, write.place.addr
                codes = {lane: code for lane, code in enumerate(write.data) if write.en >> lane & 1}
                self.writes.append((self.cycle, place, codes))
                self.written |= {(*place, lane): code for lane, code in codes.items()}
            self.cycle += 1


def tensor(dice, pixels, rows, cols, groups, start=(0, 0)):
    """A view of the left part of a plane with ``groups`` groups from pixel ``start`` on, at a random base."""
    base, pitch = dice.randrange(6), cols + dice.randrange(3)
    view, _ = tensor_view(pixels, rows, pitch, groups, base)
    for name, column in (("row", 0), ("cur", start[1])):
        pixel = start[0] * pitch + column
        view |= {f"{name}_bank0": pixel % pixels, f"{name}_addr0": base + pixel // pixels * groups}
    return view


def places(view, rows, cols, pixels, start=(0, 0)):
    """``(bank, address)`` of each pixel by its coordinates."""
    return {(y, x): (bank, addr) for y, x, bank, addr in views.walk(view, rows, cols, pixels, start)}
