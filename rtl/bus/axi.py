"""AXI4 and AXI4-Lite interfaces.

Member names are those of the AXI specification (ARM IHI 0022), so the ports of the Verilog can be named after them.
"""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AXI4ReadSignature", "AXI4WriteSignature", "AXI4LiteSignature"]


class _Address(wiring.Signature):
    def __init__(self, prefix, addr_bits, data_bits, id_bits, rest):
        self._addr_bits, self._data_bits, self._id_bits = addr_bits, data_bits, id_bits
        p = prefix
        super().__init__({
            f"{p}valid": Out(1), f"{p}ready": In(1), f"{p}addr": Out(addr_bits), f"{p}id": Out(id_bits),
            f"{p}len": Out(8),
            f"{p}size": Out(3), f"{p}burst": Out(2), f"{p}lock": Out(1), f"{p}cache": Out(4), f"{p}prot": Out(3),
            f"{p}qos": Out(4), **rest})

    @property
    def addr_bits(self) -> int:
        return self._addr_bits

    @property
    def data_bits(self) -> int:
        return self._data_bits

    @property
    def id_bits(self) -> int:
        return self._id_bits


class AXI4ReadSignature(_Address):
    """Read address and read data channels, from the master's side."""
    def __init__(self, addr_bits, data_bits, id_bits=1):
        super().__init__("ar", addr_bits, data_bits, id_bits, {
            "rvalid": In(1), "rready": Out(1), "rdata": In(data_bits), "rresp": In(2), "rlast": In(1),
            "rid": In(id_bits)})


class AXI4WriteSignature(_Address):
    """Write address, write data and write response channels, from the master's side."""
    def __init__(self, addr_bits, data_bits, id_bits=1):
        super().__init__("aw", addr_bits, data_bits, id_bits, {
            "wvalid": Out(1), "wready": In(1), "wdata": Out(data_bits), "wstrb": Out(data_bits // 8), "wlast": Out(1),
            "bvalid": In(1), "bready": Out(1), "bresp": In(2), "bid": In(id_bits)})


class AXI4LiteSignature(wiring.Signature):
    """All five channels of AXI4-Lite, from the master's side."""
    def __init__(self, addr_bits, data_bits=32):
        super().__init__({
            "awvalid": Out(1), "awready": In(1), "awaddr": Out(addr_bits), "awprot": Out(3),
            "wvalid": Out(1), "wready": In(1), "wdata": Out(data_bits), "wstrb": Out(data_bits // 8),
            "bvalid": In(1), "bready": Out(1), "bresp": In(2),
            "arvalid": Out(1), "arready": In(1), "araddr": Out(addr_bits), "arprot": Out(3),
            "rvalid": In(1), "rready": Out(1), "rdata": In(data_bits), "rresp": In(2)})
