"""Activation memories and tensors for the units that write codes."""

from random import Random

from compiler.layout import Placement
from spec import views
from spec.latency import GATHER
from spec.views import view_of


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
        unit = self.unit
        line = [[[0] * unit.ic] * unit.out_pixels] * (GATHER - 1)
        while True:
            asks, asked, reads, writes, mems, mask, written = (await ctx.tick().sample(
                unit.gather.en, unit.gather.place, unit.gather.mems, unit.write.en, unit.write.mems, unit.write.mask,
                unit.write.word))[2:]
            assert reads == sum({1 << place.mem for n, place in enumerate(asked) if asks >> n & 1})
            reads = [self.read(place.mem, place.bank, place.addr) if asks >> n & 1 else [170] * unit.ic
                     for n, place in enumerate(asked)]
            self.gathers += asks.bit_count()
            apart([place for n, place in enumerate(asked) if asks >> n & 1], unit.out_pixels)
            apart([write.place for n, write in enumerate(written) if writes >> n & 1], unit.out_pixels)
            line.append(reads)
            ctx.set(unit.gather.codes, line.pop(0))
            assert mems == sum({1 << write.place.mem for n, write in enumerate(written) if writes >> n & 1})
            for n, write in enumerate(written):
                if writes >> n & 1:
                    place = write.place.mem, write.place.bank, write.place.addr
                    codes = {lane: code for lane, code in enumerate(write.data) if mask >> lane & 1}
                    self.writes.append((self.cycle, place, codes))
                    self.written |= {(*place, lane): code for lane, code in codes.items()}
            self.cycle += 1


def apart(places, together):
    """The places of one cycle lie in one memory, in banks of different remainders."""
    found = [(place.mem, place.bank, place.addr) for place in places]
    assert len({bank % together for _, bank, _ in found}) == len(found), found
    assert len({mem for mem, _, _ in found}) < 2, found


def tensor(dice, unit, rows, cols, groups, start=(0, 0)):
    """A view of ``rows`` x ``cols`` pixels of ``groups`` groups from pixel ``start`` on, somewhere in a tensor in one,
    two or four planes."""
    (y, x), phases = (dice.randrange(3) for _ in range(2)), (dice.randrange(1, 3), dice.randrange(1, 3))
    height, width = y + rows + dice.randrange(2), x + cols + dice.randrange(2)
    place = Placement(0, dice.randrange(6), height, width, phases, -(-width // phases[1]) + dice.randrange(3), groups,
                      unit.pixels, unit.out_pixels)
    return view_of({"v_reserved": 0} | place.view("v", y=y + start[0], x=x, start_x=start[1]), "v")


def plane(dice, unit, rows, cols, groups):
    """The view of a region in one plane, or of pixels that are copies, or groups apart, of those of a plane."""
    up, apart, base = dice.choice(((1, 1), (1, 1), (1, 2), (2, 1), (2, 2))), dice.randrange(2), dice.randrange(6)
    y, x = (dice.randrange(2 * n) for n in up)
    place = Placement(0, base, -(-(y + rows) // up[0]), -(-(x + cols) // up[1]), (1, 1), x + cols + dice.randrange(3),
                      groups * up[0] * up[1] if apart else groups, unit.pixels, unit.out_pixels)
    return view_of({"v_reserved": 0} | place.spread("v", up, groups * apart, y=y, x=x), "v")


def places(view, rows, cols, pixels, start=(0, 0)):
    """``(bank, address)`` of each pixel by its coordinates."""
    return {(y, x): (bank, addr) for y, x, bank, addr in views.walk(view, rows, cols, pixels, start)}
