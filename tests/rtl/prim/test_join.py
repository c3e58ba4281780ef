"""Streams that are joined have equal payloads."""

from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.prim import join_streams


def streams(given, taken):
    class Ends(wiring.Component):
        i: In(stream.Signature(given))
        o: Out(stream.Signature(taken))

        def elaborate(self, platform):
            return Module()

    ends = Ends()
    ends._MustUse__silence = True
    return ends


@pytest.mark.parametrize("given, taken", [
    (8, signed(8)), (8, 7), (data.StructLayout({"a": 4, "b": 4}), 8),
    (data.StructLayout({"a": 4, "b": 4}), data.StructLayout({"b": 4, "a": 4}))])
def test_unequal_payloads(given, taken):
    """Kind: a sign or a field that is lost where two blocks meet; Amaranth compares widths only."""
    ends = streams(given, taken)
    with pytest.raises(TypeError, match="^a stream of .* does not go into one of "):
        join_streams(Module(), ends.i, ends.o)
