"""Activation memories: what each reader gets and when, who waits for whom, and that nothing else is written."""

from random import Random

from amaranth.back import rtlil
import pytest

from rtl.memory import Banks
from rtl.memory.banks import Bank
from spec.latency import GATHER, READ

from ..axi_models import refusal, simulate
from ..parameters import check_parameters

# ic, pixels, act_depth, out_pixels
SIZES = [(1, 2, 1, 1), (3, 6, 5, 3), (2, 4, 8, 2), (5, 3, 4, 1), (1, 8, 3, 4), (2, 16, 2, 4), (1, 36, 2, 6)]


@pytest.mark.parametrize("depth, width", [(1, 1), (5, 3), (8, 2)])
def test_bank(depth, width):
    """Byte enables; a read sees what was written in the cycles before, and stays while ``r_en`` is low."""
    bank, dice, words = Bank(depth=depth, width=width, ram="any"), Random(depth), [0] * depth
    due, found = [None] * (bank.latency - 1), []

    async def drive(ctx):
        memory = 0
        for _ in range(200):
            enable, reads = dice.getrandbits(width), dice.random() < 0.7
            at, value, address = dice.randrange(depth), dice.getrandbits(8 * width), dice.randrange(depth)
            for signal, item in ((bank.w_en, enable), (bank.w_addr, at), (bank.w_data, value), (bank.r_en, reads),
                                 (bank.r_addr, address)):
                ctx.set(signal, item)
            memory = words[address] if reads else memory
            due.append(memory)
            for byte in range(width):
                if enable >> byte & 1:
                    mask = 255 << 8 * byte
                    words[at] = words[at] & ~mask | value & mask
            await ctx.tick()
            found.append(ctx.get(bank.r_data))

    simulate({"bank": bank}, drive)
    assert found[bank.latency - 1:] == due[bank.latency - 1:][:len(found) - bank.latency + 1]


@pytest.mark.parametrize("ram", ["any", "block", "ultra"])
def test_ram_is_asked_for(ram):
    """Where the tools may not choose."""
    text = rtlil.convert(Bank(depth=4, width=2, ram=ram), name="bank")
    assert ("\\ram_style" in text) == (ram != "any") == (f'attribute \\ram_style "{ram}"' in text)


class Traffic:
    """Random requests of all users at the limits of what they may do, and a model of both memories."""

    def __init__(self, ic, pixels, act_depth, out_pixels):
        self.ic, self.pixels, self.depth, self.count = ic, pixels, act_depth, out_pixels
        self.banks, self.dice = Banks(ic=ic, pixels=pixels, act_depth=act_depth, act_ram="block",
                                      out_pixels=out_pixels), Random(ic)
        self.words = {(m, b, a): [0] * ic for m in range(2) for b in range(pixels) for a in range(act_depth)}

    def place(self, mem=None):
        dice = self.dice
        return {"mem": dice.randrange(2) if mem is None else mem, "bank": dice.randrange(self.pixels),
                "addr": dice.randrange(self.depth)}

    def places(self, mem=None):
        """Of pixels of one memory in banks of different remainders."""
        dice, mem = self.dice, self.dice.randrange(2) if mem is None else mem
        return [self.place(mem) | {"bank": dice.randrange(rest, self.pixels, self.count)}
                for rest in dice.sample(range(self.count), self.count)]

    def write(self, place=None):
        codes = [self.dice.randrange(256) for _ in range(self.ic)]
        return {"place": place or self.place(), "data": codes}

    def compute(self):
        """What the compute side does in a cycle: of each port what it is told. Some of the pixels are read or written,
        or none; what is not asked for may lie anywhere."""
        dice, feed, mem = self.dice, self.dice.random() < 0.5, self.dice.randrange(2)
        gather, write = (dice.getrandbits(self.count) * (dice.random() < 0.5) for _ in range(2))
        asked, written = self.places(1 - mem if feed else None), [self.write(place) for place in self.places()]
        return {
            "feed": {"en": feed, "mem": mem, "addr": [dice.randrange(self.depth) for _ in range(self.pixels)]},
            "gather": {"en": gather, "mems": (1 << asked[0]["mem"]) * bool(gather),
                       "place": [place if gather >> n & 1 else self.place() for n, place in enumerate(asked)]},
            "write": {"en": write, "mems": (1 << written[0]["place"]["mem"]) * bool(write),
                      "mask": dice.getrandbits(self.ic),
                      "word": [word if write >> n & 1 else self.write() for n, word in enumerate(written)]}}

    def read(self, place):
        return list(self.words[place["mem"], place["bank"], place["addr"]])

    def land(self, write, mask=-1):
        word = self.words[tuple(write["place"][n] for n in ("mem", "bank", "addr"))]
        for i, code in enumerate(write["data"]):
            if mask >> i & 1:
                word[i] = code


@pytest.mark.parametrize("ic, pixels, act_depth, out_pixels", SIZES)
def test_traffic(ic, pixels, act_depth, out_pixels):
    """``store`` and ``load`` are held until they are taken; they wait exactly for those that must not."""
    t = Traffic(ic, pixels, act_depth, out_pixels)
    banks, dice = t.banks, t.dice
    feeds, gathers, stores = [], [], []     # (cycle, words)
    counts = dict.fromkeys(("feed", "gather", "store", "load", "write", "store waits", "load waits"), 0)

    async def drive(ctx):
        store = load = None
        for cycle in range(400):
            compute = t.compute()
            feed, feed_mem, addresses = compute["feed"].values()
            gather, _, places = compute["gather"].values()
            write, mems, mask, words = compute["write"].values()
            for port, values in compute.items():
                for name, value in values.items():
                    ctx.set(getattr(getattr(banks.compute, port), name), value)
            store = store or (t.place() if dice.random() < 0.6 else None)
            load = load or (t.write() if dice.random() < 0.6 else None)
            for signal, value in ((banks.store.place.valid, store is not None),
                                  (banks.store.place.payload, store or t.place()),
                                  (banks.load.valid, load is not None), (banks.load.payload, load or t.write())):
                ctx.set(signal, value)
            stored, loaded, data, gathered, codes, valid = (await ctx.tick().sample(
                banks.store.place.ready, banks.load.ready, banks.compute.feed.data, banks.compute.gather.codes,
                banks.store.codes, banks.store.valid))[2:]
            while feeds and feeds[0][0] == cycle:
                assert [list(word) for word in data] == feeds.pop(0)[1]
            while gathers and gathers[0][0] == cycle:
                for lane, word in gathers.pop(0)[1]:
                    assert list(gathered[lane]) == word and (lane or list(codes) == word)
            assert valid == bool(stores and stores[0] == cycle)
            assert ctx.get(banks.compute.stores) == (store is not None)
            if valid:
                stores.pop(0)
            # A read in the cycle of a write gives what was there before.
            if feed:
                read = [t.read(dict(mem=feed_mem, bank=b, addr=a)) for b, a in enumerate(addresses)]
                feeds.append((cycle + READ, read))
            if gather:
                gathers.append((cycle + GATHER, [(n, t.read(p)) for n, p in enumerate(places) if gather >> n & 1]))
            assert not store or stored == (not gather and not (feed and feed_mem == store["mem"]))
            assert not load or loaded == (not mems >> load["place"]["mem"] & 1)
            if store and stored:
                gathers.append((cycle + GATHER, [(0, t.read(store))]))
                stores.append(cycle + GATHER)
            for name, happens in (("feed", feed), ("gather", gather), ("store", store and stored),
                                  ("load", load and loaded), ("write", write), ("store waits", store and not stored),
                                  ("load waits", load and not loaded)):
                counts[name] += bool(happens)
            for n, word in enumerate(words):
                if write >> n & 1:
                    t.land(word, mask)
            if load and loaded:
                t.land(load)
            store, load = (None if stored else store), (None if loaded else load)

    simulate({"banks": banks}, drive)
    assert min(counts.values()) > 20, counts


@pytest.mark.parametrize("cls, good, refusals", [
    (Bank, dict(depth=2, width=1, ram="any"), [("depth", 0, "1 or more"), ("width", 0, "1 or more"),
                                                  ("ram", "lut", "one of any, block, ultra")]),
    (Banks, dict(ic=1, pixels=2, act_depth=1, act_ram="ultra", out_pixels=1), [
        ("act_ram", "", "one of block, ultra"), ("ic", 0, "1 or more"), ("pixels", 1, "2 or more"),
                                                ("act_depth", 0, "1 or more"), ("out_pixels", 0, "1 or more")])])
def test_parameters(cls, good, refusals):
    check_parameters(cls, good, refusals)


def test_words_that_do_not_divide_the_banks():
    assert refusal(Banks, ic=1, pixels=6, act_depth=1, act_ram="block", out_pixels=4) == (
        "no Banks of 6 pixels has out_pixels 4: give a number that divides pixels")


def test_latencies():
    banks = Banks(ic=1, pixels=2, act_depth=1, act_ram="block", out_pixels=1)
    banks._MustUse__silence = True
    assert (banks.latency, banks.gather_latency) == (READ, GATHER)
