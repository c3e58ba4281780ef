"""The AXI signatures: members, widths and directions of ARM IHI 0022."""

from amaranth.lib.wiring import In, Out

from rtl.bus import AXI4LiteSignature, AXI4ReadSignature, AXI4WriteSignature

ADDRESS = dict(valid=1, ready=-1, addr=40, id=1, len=8, size=3, burst=2, lock=1, cache=4, prot=3, qos=4)
READ = dict(rvalid=-1, rready=1, rdata=-64, rresp=-2, rlast=-1, rid=-1)
WRITE = dict(wvalid=1, wready=-1, wdata=64, wstrb=8, wlast=1, bvalid=-1, bready=1, bresp=-2, bid=-1)
LITE = dict(awvalid=1, awready=-1, awaddr=12, awprot=3, wvalid=1, wready=-1, wdata=32, wstrb=4, bvalid=-1, bready=1,
            bresp=-2, arvalid=1, arready=-1, araddr=12, arprot=3, rvalid=-1, rready=1, rdata=-32, rresp=-2)


def widths(signature):
    """Member -> its bits, negative from the slave."""
    assert {member.flow for member in signature.members.values()} <= {In, Out}
    return {name: member.shape if member.flow == Out else -member.shape for name, member in signature.members.items()}


def address(prefix):
    return {prefix + name: width for name, width in ADDRESS.items()}


def test_members():
    assert widths(AXI4ReadSignature(40, 64)) == address("ar") | READ
    assert widths(AXI4WriteSignature(40, 64)) == address("aw") | WRITE
    assert widths(AXI4LiteSignature(12)) == LITE
    wide = AXI4ReadSignature(64, 128, id_bits=4)
    assert (wide.addr_bits, wide.data_bits, wide.id_bits) == (64, 128, 4) and wide.members["rid"].shape == 4
