"""The longest paths from register to register, over module borders: a walk over the flattened netlist.

Processing elements, memories and tables stay black boxes: all their ports are registers. Everything else is flattened
before it is mapped, and mapped for few LUTs on a path, as vendor tools do where it matters; resources are those of a
mapping for few LUTs in all, which has up to twice as many on a path.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
import json
from pathlib import Path
import re
import tempfile
from typing import Any

from spec.children import Children
from spec.devices import family as family_of
from spec.errors import AlloyError
from spec.progress import going

from .synth import find_yosys, prepare, read_parts, run_yosys

__all__ = ["BOXES", "NetPath", "longest", "longest_paths"]

BOXES = ("alloy_pearray*", "alloy_weightcolumn*", "alloy_bank", "alloy_bank__*", "alloy_codetable*")
SHOWN = 10
CARRY = 0.2         # of a LUT level with its way to the next: a carry cell
CLOCKS = ("C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK", "CLKA", "CLKB", "clk")
LUT, CHAIN, WIDE = re.compile(r"LUT[1-6](_2)?|INV"), re.compile(r"CARRY[48]"), re.compile(r"MUXF[789]")
INDEX = re.compile(r"\[[0-9:]+\]$")


@dataclass(frozen=True)
class NetPath:
    """A path: LUT levels, carry cells, carry chains that it enters, from which register to which, and the modules that
    it goes through."""
    luts: int
    carries: int
    chains: int
    start: str
    end: str
    modules: tuple[str, ...]

    @property
    def length(self) -> float:
        """In LUT levels."""
        return self.luts + CARRY * self.carries


def _combinational(cell):
    """Pairs (output bit, input bits) of a cell without state, or None for one with state."""
    kind, ports = cell["type"], cell["connections"]
    if CHAIN.fullmatch(kind):
        return _carry(ports)
    if not (LUT.fullmatch(kind) or WIDE.fullmatch(kind)):
        return None
    given = [bit for name, bits in ports.items() if cell["port_directions"][name] == "input" for bit in bits]
    return [(bit, given) for name, bits in ports.items() if cell["port_directions"][name] == "output" for bit in bits]


def _carry(ports):
    """Of a carry cell: each bit of the sum depends on what is below it."""
    found, below = [], [bit for port in ("CI", "CYINIT", "CI_TOP") for bit in ports.get(port, ())]
    for at, select in enumerate(ports["S"]):
        below.append(select)
        found += [(bit, list(below)) for bit in ports.get("O", ())[at:at + 1]]      # outputs may stay open
        below.append(ports["DI"][at])
        found += [(bit, list(below)) for bit in ports.get("CO", ())[at:at + 1]]
    return found


class _Netlist:
    """Who drives each bit, and the bits at which paths end."""

    def __init__(self, module):
        self.names = self._named(module["netnames"])
        self.drivers, self.starts, self.ends = {}, {}, []
        for name, cell in module["cells"].items():
            if cell["type"] == "$scopeinfo":
                continue
            found = _combinational(cell)
            if found is None:
                self._state(name, cell)
                continue
            for bit, given in found:
                self.drivers[bit] = cell, [one for one in given if isinstance(one, int)]
        for name, port in module["ports"].items():
            for bit in port["bits"]:
                if port["direction"] == "input":
                    self.starts[bit] = f"port {name}"
                elif isinstance(bit, int):
                    self.ends.append((bit, f"port {name}"))

    @staticmethod
    def _named(netnames):
        """Bit -> the shortest name that a person gave it."""
        found: dict[int, tuple] = {}
        for name, net in netnames.items():
            for bit in net["bits"]:
                key = net["hide_name"], name.count("."), len(name), name
                if isinstance(bit, int) and (bit not in found or key < found[bit]):
                    found[bit] = key
        return {bit: INDEX.sub("", key[-1]) for bit, key in found.items()}

    def _state(self, name, cell):
        """A register, a memory, a multiplier or a black box."""
        directions, ports = cell["port_directions"], cell["connections"]
        outputs = [bit for port, bits in ports.items() if directions[port] == "output" for bit in bits]
        register = cell["type"].startswith("FD")
        title = self.names.get(outputs[0], name) if register and outputs else f"{name} ({cell['type']})"
        self.starts |= dict.fromkeys(outputs, title)
        self.ends += [(bit, title if register else f"{title} {port}") for port, bits in ports.items()
                      if directions[port] == "input" and port not in CLOCKS for bit in bits if isinstance(bit, int)]

    def arrivals(self):
        """Bit -> (length, LUTs, carry cells, chains, bit before it), of the longest path that ends there."""
        found: dict[int, tuple] = {}
        opened: set[int] = set()
        for root in self.drivers:
            stack = [root]
            while stack:
                bit = stack[-1]
                if bit in found or bit not in self.drivers:
                    found.setdefault(bit, (0.0, 0, 0, 0, None))
                    stack.pop()
                    continue
                cell, given = self.drivers[bit]
                missing = [one for one in given if one not in found]
                if missing and bit in opened:
                    raise AlloyError(f"the netlist has a loop without a register at {self.names.get(bit, bit)}")
                if missing:
                    opened.add(bit)
                    stack += missing
                    continue
                found[bit] = self._longest(cell, given, found)
                stack.pop()
        return found

    @staticmethod
    def _longest(cell, given, found):
        kind = cell["type"]
        luts, carries = bool(LUT.fullmatch(kind)), bool(CHAIN.fullmatch(kind))
        chain = cell["connections"].get("CI", ()) if carries else ()
        best = max(given, key=lambda one: found[one][0], default=None)
        if best is None:
            return 0.0, 0, 0, 0, None
        length, before_luts, before_carries, chains, _ = found[best]
        return (length + luts + CARRY * carries, before_luts + luts, before_carries + carries,
                chains + (carries and best not in chain), best)


def _module_of(name):
    """The instance that a net lies in."""
    return name.rpartition(".")[0].lstrip("\\") or "top"


def longest(module: Mapping[str, Any], count: int = SHOWN) -> list[NetPath]:
    """The longest paths of a mapped module (as Yosys writes it in JSON), each between two other registers."""
    netlist = _Netlist(module)
    arrivals, found = netlist.arrivals(), dict[tuple[str, str], NetPath]()
    for bit, end in sorted(netlist.ends, key=lambda one: (-arrivals.get(one[0], (0.0,))[0], one[1])):
        length, luts, carries, chains, before = arrivals.get(bit, (0.0, 0, 0, 0, None))
        if not luts + carries:
            break
        way, at = [bit], before
        while at is not None:
            way.append(at)
            at = arrivals[at][4]
        start = netlist.starts.get(way[-1], netlist.names.get(way[-1], "?"))
        modules = dict.fromkeys(_module_of(netlist.names[one]) for one in reversed(way)
                                if one in netlist.names and not netlist.names[one].startswith("$"))
        found.setdefault((start, end), NetPath(luts, carries, chains, start, end, tuple(modules)))
        if len(found) == count:
            break
    return list(found.values())


def longest_paths(text: str, top: str, family: str, *, count: int = SHOWN,
                  report: Callable[[str], object] = print) -> list[dict]:
    """The longest paths of the Verilog ``text`` (:class:`NetPath` as dicts), longest first."""
    known = family_of(family)
    find_yosys()
    with tempfile.TemporaryDirectory() as temporary, Children() as children, going(report, "longest paths", 20):
        folder = Path(temporary)
        parts = read_parts(children, text, folder)
        if top not in parts:
            raise AlloyError(f"the Verilog has no module {top}: the paths need the text that rtl.generate gives")
        prepare(folder)
        (folder / "flat.v").write_text("\n".join(_flat(parts, top)))
        first, *steps = (step.format(source="flat.v", mapper=known.delay) for step in known.steps)
        wrong = run_yosys(children, "flat", "flat.json", first, "hierarchy -top top_module",
                          "proc", "flatten", *steps, folder=folder)
        if wrong:
            raise AlloyError(f"synthesis of the flattened engine failed: {wrong}")
        modules = json.loads((folder / "flat.json").read_text())["modules"]
    return [asdict(path) for path in longest(modules["top_module"], count)]


def _flat(parts, top) -> Iterator[str]:
    """The Verilog of all modules, with stubs for black boxes."""
    for name, part in parts.items():
        box = any(fnmatchcase(name.lstrip("\\"), pattern) for pattern in BOXES)
        if box:
            yield part.stub
        else:
            yield part.source if name == top else part.source.replace("module top_module", f"module {name} ", 1)
