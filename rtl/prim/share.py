"""Modules that are alike are elaborated and converted once.

Amaranth makes a module of every instance. :func:`add_shared` makes an instance of a :class:`Library` module instead
when the design is converted; in Amaranth's simulator it is an ordinary submodule. :class:`ResetInserter` reaches both.
"""

from collections import Counter
from dataclasses import fields, is_dataclass
from enum import Enum

from amaranth import hdl
from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Fragment, Instance, Module, ResetSignal, Value
from amaranth.lib.wiring import Component, Flow

from spec.errors import AlloyError

__all__ = ["Library", "ResetInserter", "add_shared"]

PLAIN = (bool, int, str, bytes, type(None))
AMARANTH = ("_MustUse__", "_Component__")      # prefixes of what Amaranth keeps in a component
RESET = "rst"
ASKED = "__dataclass_params__"    # what a dataclass was asked to be


class Library:
    """Collects the RTLIL of each distinct component; pass it as ``platform`` to the conversion of the top.

    Components are alike when class, ports and all their attributes are. Attributes are numbers, texts, enumeration
    members, None, and tuples and frozen dataclasses of these; anything else raises :class:`AlloyError`, because what it
    holds could change or hide a difference.
    """

    def __init__(self):
        self._modules = {}      # key -> (name, has clock, has reset)
        self._texts = {}        # name -> RTLIL
        self._stems: Counter[str] = Counter()
        self.counts = {}        # name -> instances placed (each parent module counts once)

    def module(self, component: Component) -> tuple[str, bool, bool]:
        """Name of the shared module for ``component`` and whether it has clock and reset."""
        key = _key(component)
        if key not in self._modules:
            stem = f"alloy_{type(component).__name__.lower()}"
            self._stems[stem] += 1      # before what is inside takes its names
            name = stem + (f"__{self._stems[stem]}" if self._stems[stem] > 1 else "")
            text = rtlil.convert(component, name=name, platform=self, emit_src=False)
            self._texts[name] = text
            top = text[text.index(f"module \\{name}\n"):]
            self._modules[key] = (name, "\\clk\n" in top, f"\\{RESET}\n" in top)
        return self._modules[key]

    def rtlil(self) -> str:
        """RTLIL of all modules."""
        return "\n".join(self._texts.values())


class ResetInserter(hdl.ResetInserter):
    """Amaranth's, for the domain ``sync``, that resets placed components as well."""

    def __init__(self, control):
        super().__init__(control)
        self._control = control

    def on_fragment(self, fragment: Fragment) -> Fragment:
        new = super().on_fragment(fragment)
        if isinstance(new, Instance) and RESET in new.ports:
            value, direction = new.ports[RESET]
            new.ports[RESET] = (value | self._control, direction)
        return new


def add_shared(m: Module, name: str, component: Component, platform: Library | None) -> None:
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
        pins[f"i_{RESET}"] = ResetSignal()
    m.submodules[name] = Instance(module, **pins)


def _ports(component):
    """(port name, flow, signal) of every member."""
    for path, member, value in component.signature.flatten(component):
        yield "__".join(map(str, path)), member.flow, Value.cast(value)


def _key(component):
    """Hashable, equal for components that elaborate to the same module."""
    cls, members = type(component), component.signature.members
    ports = tuple((path, flow, repr(value.shape()), getattr(value, "init", None))
                  for path, flow, value in _ports(component))
    own = {n: v for n, v in vars(component).items() if n not in members and not n.startswith(AMARANTH)}
    return cls, ports, tuple((name, _frozen(own[name], f"{cls.__name__}.{name}")) for name in sorted(own))


def _frozen(value, where):
    """Hashable form of a parameter; ``where`` names it in the error."""
    if type(value) in PLAIN or isinstance(value, Enum):
        return type(value), value
    if type(value) is float:
        return float, repr(value)       # 0.0 and -0.0 are equal and not alike
    if type(value) is tuple:
        return tuple, tuple(_frozen(v, f"{where}[{n}]") for n, v in enumerate(value))
    if is_dataclass(value) and not isinstance(value, type) and getattr(value, ASKED).frozen:
        return type(value), tuple(_frozen(getattr(value, f.name), f"{where}.{f.name}") for f in fields(value))
    raise AlloyError(f"{where} is of type {type(value).__name__}, which does not tell alike modules from others: "
                     "make it a number, a text, None, a tuple or a frozen dataclass of these")
