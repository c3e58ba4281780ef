"""Modules that are alike are elaborated and converted once.

Amaranth makes a module of every instance. :func:`place` makes an instance of a :class:`Library` module instead when the
design is converted; in Amaranth's simulator it is an ordinary submodule.
"""

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, ResetSignal, Value
from amaranth.lib.wiring import Flow

__all__ = ["Library", "place"]


class Library:
    """Collects the RTLIL of each distinct component; pass it as ``platform`` to the conversion of the top."""

    def __init__(self):
        self._modules = {}      # key -> (name, has clock, has reset)
        self._texts = {}        # name -> RTLIL
        self.counts = {}        # name -> instances placed (each parent module counts once)

    def module(self, component):
        """Name of the shared module for ``component`` and whether it has clock and reset."""
        key = (type(component), tuple(sorted((n.strip("_"), v) for n, v in vars(component).items() if _is_parameter(v))))
        if key not in self._modules:
            stem = type(component).__name__.lower()
            same = sum(name.split("__")[0] == f"alloy_{stem}" for name, _, _ in self._modules.values())
            name = f"alloy_{stem}" + (f"__{same + 1}" if same else "")
            text = rtlil.convert(component, name=name, platform=self, emit_src=False)
            self._texts[name] = text
            top = text[text.index(f"module \\{name}\n"):]
            self._modules[key] = (name, "\\clk\n" in top, "\\rst\n" in top)
        return self._modules[key]

    def rtlil(self):
        """RTLIL of all modules."""
        return "\n".join(self._texts.values())


def place(m, name, component, platform):
    """Add ``component`` to ``m``: as an instance of a shared module if ``platform`` is a :class:`Library`."""
    if not isinstance(platform, Library):
        m.submodules[name] = component
        return
    component._MustUse__silence = True      # this one stands for its ports only
    module, clock, reset = platform.module(component)
    platform.counts[module] = platform.counts.get(module, 0) + 1
    pins = {("i_" if flow == Flow.In else "o_") + path: value for path, flow, value in _ports(component)}
    if clock:
        pins["i_clk"] = ClockSignal()
    if reset:
        pins["i_rst"] = ResetSignal()
    m.submodules[name] = Instance(module, **pins)


def _ports(component):
    """(port name, flow, signal) of every member."""
    for path, member, value in component.signature.flatten(component):
        yield "__".join(map(str, path)), member.flow, Value.cast(value)


def _is_parameter(value):
    return isinstance(value, (bool, int, str, tuple)) or hasattr(value, "digest")
