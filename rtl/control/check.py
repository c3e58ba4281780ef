"""Checks every command before any unit sees it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec.commands import MAGIC, PARAM_BYTES, TABLE_RECORDS, VERSION, Error, Opcode
from spec.views import ADDRESSES, BANKS

from ..prim import COMMAND, ResetInserter, SerialMultiplier, error_layout
from .limits import Limits

__all__ = ["Check"]


class Check(Limits):
    """Passes commands on that this configuration can run; stops at the first other one.

    The rule is :func:`spec.check.refuse`; sizes are computed without wrapping. On-chip addresses that a view reaches
    only by its steps, and tap offsets, are not checked. After ``clear`` the next command is the first of a program.
    Latency: :data:`spec.latency.CHECK`, with one more for each bit of what is multiplied: ``depth`` of a CONV, ``rows``
    and ``groups`` of a POOL, and twice ``rows`` of LOAD_ACT and STORE_ACT, once those of an image.

    Parameters
    ----------
    Those of :class:`Limits`.

    Members
    -------
    cmd, out : commands in and out.
    size : bytes of the DRAM window.
    error : why ``cmd`` is refused; stays until ``clear``.
    clear : forget everything.
    """

    def members(self) -> dict[str, Member]:
        return {"cmd": In(stream.Signature(COMMAND)), "out": Out(stream.Signature(COMMAND)), "size": In(32),
                "error": Out(error_layout()), "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        cmd = self.cmd.payload
        m.submodules.region = region = SerialMultiplier(x_bits=17, y_bits=32)
        m.submodules.inner = inner = SerialMultiplier(x_bits=16, y_bits=16)
        first, summing, conv = Signal(init=1), Signal(), cmd.opcode == Opcode.CONV
        area = self._factors(m, region, inner, summing)
        m.d.comb += [self.out.payload.eq(cmd), self.error.tag.eq(cmd.tag)]
        unknown, bad, code, extent = Signal(), Signal(), Signal(8), Signal(50)
        right = ((cmd.magic == MAGIC) & (cmd.opcode == Opcode.START) & (cmd.digest == self.digest_word)
                 & (cmd.version == VERSION))

        with m.FSM(name="check"):
            with m.State("IDLE"):
                m.d.comb += [region.start.eq(self.cmd.valid), inner.start.eq(self.cmd.valid)]
                with m.If(self.cmd.valid):
                    m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                self._fields(m, unknown, bad)
                with m.If(region.done & inner.done):
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += [summing.eq(1), region.start.eq(1)]
                m.d.sync += extent.eq(self._bytes(m, region.product, inner.product))
                with m.If(conv & (cmd.weight_base + inner.product > self.weight_depth)):
                    m.d.sync += bad.eq(1)
                m.next = "END"
            with m.State("END"):
                with m.If(region.done):
                    m.d.sync += extent.eq(extent + cmd.dram)
                    with m.If(area & (region.product > self.pixels * self.act_depth)):
                        m.d.sync += bad.eq(1)
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "REFUSE"
                with m.If(first):
                    m.d.sync += code.eq(Error.PROGRAM)
                    with m.If(right):
                        m.next = "PASS"
                with m.Elif(unknown):
                    m.d.sync += code.eq(Error.OPCODE)
                with m.Elif(bad):
                    m.d.sync += code.eq(Error.FIELD)
                with m.Elif(self._moves() & (extent > self.size)):
                    m.d.sync += code.eq(Error.WINDOW)
                with m.Else():
                    m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += [self.out.valid.eq(1), self.cmd.ready.eq(self.out.ready)]
                with m.If(self.out.ready):
                    m.d.sync += first.eq(0)
                    m.next = "IDLE"
            with m.State("REFUSE"):
                m.d.comb += [self.error.valid.eq(1), self.error.code.eq(code)]
        return ResetInserter(self.clear)(m)

    def _factors(self, m, region, inner, summing):
        """The bytes of the rows, then (``summing``) the words of the region; a factor of 0 takes no time.

        Returns whether the command has a region.
        """
        cmd = self.cmd.payload
        conv, pool = cmd.opcode == Opcode.CONV, cmd.opcode == Opcode.POOL
        acts = (cmd.opcode == Opcode.LOAD_ACT) | (cmd.opcode == Opcode.STORE_ACT)
        area = acts | pool
        m.d.comb += [
            region.x.eq(Mux(area, Mux(summing, cmd.rows, Mux(self._rows() == 0, 0, self._rows() - 1)), 0)),
            region.y.eq(Mux(summing, inner.product, cmd.stride)),
            inner.x.eq(Mux(conv, cmd.depth, Mux(pool, cmd.groups, Mux(acts, cmd.out_groups, 0)))),
            inner.y.eq(Mux(conv, Mux(cmd.shared, 1, cmd.taps), cmd.cols))]
        return area

    def _image(self):
        """Whether the command reads an image."""
        return (self.cmd.payload.opcode == Opcode.LOAD_ACT) & self.cmd.payload.image

    def _rows(self):
        """Rows of DRAM that the command moves."""
        cmd = self.cmd.payload
        return Mux(self._image(), ((cmd.rows << cmd.pair) - cmd.above - cmd.below)[:17], cmd.rows)

    def _moves(self):
        """Whether the command has a region in DRAM."""
        return Cat(self.cmd.payload.opcode == o for o in Opcode if o.name.startswith(("LOAD", "STORE"))).any()

    def _bytes(self, m, region, inner):
        """Bytes from the first to the last of the DRAM region."""
        cmd, out = self.cmd.payload, Signal(50)
        with m.Switch(cmd.opcode):
            with m.Case(Opcode.LOAD_WEIGHTS):
                m.d.comb += out.eq(cmd.stride * (self.ports - 1) + self._stream_beats() * self.port_bytes)
            with m.Case(Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES):
                m.d.comb += out.eq((cmd.count * PARAM_BYTES + self.port_bytes - 1) & ~(self.port_bytes - 1))
            with m.Default():
                m.d.comb += out.eq(region + Mux(self._image(), cmd.bytes + self.port_bytes - 1,
                                                inner * self.act_group_bytes))
        return out

    def _stream_beats(self):
        """Beats of each port for a LOAD_WEIGHTS."""
        cmd = self.cmd.payload
        plain = cmd.count * self.weight_beats
        return Mux(cmd.beats != 0, cmd.beats, plain) if self.decode_lanes else plain

    def _fields(self, m, unknown, bad):
        """Registers whether the command is unknown or has a field outside the configuration."""
        cmd = self.cmd.payload
        low = (1 << self.port_bytes.bit_length() - 1) - 1
        address, stride = (cmd.dram & low) != 0, (cmd.stride & low) != 0
        area = (cmd.rows == 0) | (cmd.cols == 0)
        out, res, records_held = self._view("out"), self._view("res"), self.param_depth * self.slots
        taps = (cmd.taps == 0) | (cmd.groups == 0) | (cmd.tap_base + cmd.taps > self.tap_depth)

        image = (cmd.bytes == 0) | (cmd.above & cmd.below & ~cmd.pair & (cmd.rows == 1))
        image |= cmd.pair & (self.image_lanes == 1)

        def records(depth):
            return address | (cmd.count == 0) | (cmd.dst + cmd.count > depth)

        wrong = {
            Opcode.END: 0,
            Opcode.LOAD_WEIGHTS: records(self.weight_depth) | stride
            | (cmd.beats > (cmd.count * self.weight_beats if self.decode_lanes else 0)),
            Opcode.LOAD_PARAMS: records(records_held),
            Opcode.LOAD_TAPS: records(self.tap_depth),
            Opcode.LOAD_TABLES: records(TABLE_RECORDS * self.tables),
            Opcode.LOAD_ACT: Mux(cmd.image, image, address | stride) | area | out,
            Opcode.STORE_ACT: address | stride | area | out,
            # Sums of a part (acc_last is 0) have no output yet.
            Opcode.CONV: area | taps | (cmd.depth == 0) | (cmd.tiles == 0) | (cmd.pitch == 0)
            | (cmd.residual & (cmd.mem_res == cmd.mem_in)) | (~(cmd.acc_first & cmd.acc_last) & (cmd.tiles != 1))
            | (cmd.start_x >= cmd.pitch)
            | (cmd.acc_last & (out | (cmd.residual & res) | (cmd.param_base + self.slots > records_held)
                               | (cmd.table > self.tables) | (cmd.shift > 63) | (cmd.lo > cmd.hi))),
            Opcode.POOL: area | taps | out | res}
        m.d.sync += [bad.eq(0), unknown.eq(cmd.magic != MAGIC)]
        with m.Switch(cmd.opcode):
            for opcode, value in wrong.items():
                with m.Case(opcode):
                    m.d.sync += bad.eq(value)
            with m.Default():
                m.d.sync += unknown.eq(1)

    def _view(self, prefix):
        """Whether a view has banks or addresses that do not exist; one address past the end is a row not visited."""
        cmd = self.cmd.payload
        banks = *BANKS, "step_bank"
        return (Cat(cmd[f"{prefix}_{n}"] >= self.pixels for n in banks).any() | (cmd[f"{prefix}_groups"] == 0)
                | Cat(cmd[f"{prefix}_{n}"] > self.act_depth for n in ADDRESSES).any())
