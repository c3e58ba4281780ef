"""Checks every command before any unit sees it."""

from functools import partial

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec.commands import MAGIC, PARAM_BYTES, TABLE_RECORDS, VERSION, Error, Opcode
from spec.rows import ROW_STEPS
from spec.views import ADDRESSES, BANKS

from ..prim import COMMAND, ResetInserter, SerialMultiplier, error_layout
from .limits import Limits
from .queues import QUEUES

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
    into : the queue of ``out``, one bit for each of :data:`rtl.control.queues.QUEUES`.
    size : bytes of the DRAM window.
    error : why ``cmd`` is refused; stays until ``clear``.
    clear : forget everything.
    """

    def members(self) -> dict[str, Member]:
        return {"cmd": In(stream.Signature(COMMAND)), "out": Out(stream.Signature(COMMAND)), "size": In(32),
                "into": Out(len(QUEUES)), "error": Out(error_layout()), "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        cmd = self.cmd.payload
        m.submodules.region = region = SerialMultiplier(x_bits=17, y_bits=32)
        m.submodules.inner = inner = SerialMultiplier(x_bits=16, y_bits=16)
        first, summing, starts, code = Signal(init=1), Signal(), Signal(), Signal(8)
        conv, area = self._factors(m, region, inner, summing)
        m.d.comb += [self.out.payload.eq(cmd), self.error.tag.eq(cmd.tag), inner.start.eq(starts),
                     region.start.eq(starts | summing), self.into.eq(self._queue(m))]
        right = _late(m, (cmd.magic == MAGIC) & (cmd.opcode == Opcode.START) & (cmd.digest == self.digest_word)
                      & (cmd.version == VERSION))
        unknown, wrong = self._fields(m)
        moves, beyond, space = _late(m, self._moves()), _late(m, cmd.dram > self.size), _late(m, self.size - cmd.dram)
        rows_bytes, more, extent, weights = (Signal(width, reset_less=True) for width in (49, 50, 50, 33))
        bad, added = Signal(), self._bytes(m, inner.product)

        with m.FSM(name="check"):
            with m.State("IDLE"):
                m.d.sync += bad.eq(0)
                with m.If(self.cmd.valid):
                    m.next = "FACTORS"
            with m.State("FACTORS"):
                m.d.comb += starts.eq(1)
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                with m.If(region.done & inner.done):
                    m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += summing.eq(1)
                m.d.sync += [rows_bytes.eq(region.product), more.eq(added), weights.eq(cmd.weight_base + inner.product)]
                m.next = "END"
            with m.State("END"):
                m.d.sync += extent.eq(rows_bytes + more)
                with m.If((conv & (weights > self.weight_depth))
                          | (region.done & area & (region.product > self.pixels * self.act_depth))):
                    m.d.sync += bad.eq(1)
                with m.If(region.done):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "REFUSE"
                with m.If(first):
                    m.d.sync += code.eq(Error.PROGRAM)
                    with m.If(right):
                        m.next = "PASS"
                with m.Elif(unknown):
                    m.d.sync += code.eq(Error.OPCODE)
                with m.Elif(wrong | bad):
                    m.d.sync += code.eq(Error.FIELD)
                with m.Elif(moves & (beyond | (extent > space))):
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

        Returns whether the command is a convolution, and whether it has a region.
        """
        cmd = self.cmd.payload
        conv, pool = _late(m, cmd.opcode == Opcode.CONV), _late(m, cmd.opcode == Opcode.POOL)
        acts = _late(m, (cmd.opcode == Opcode.LOAD_ACT) | (cmd.opcode == Opcode.STORE_ACT))
        rows = _late(m, self._rows())
        m.d.comb += [
            region.x.eq(Mux(acts | pool, Mux(summing, cmd.rows, Mux(rows == 0, 0, rows - 1)), 0)),
            region.y.eq(Mux(summing, inner.product, cmd.stride)),
            inner.x.eq(Mux(conv, cmd.depth, Mux(pool, cmd.groups, Mux(acts, cmd.out_groups, 0)))),
            inner.y.eq(Mux(conv, Mux(cmd.shared, 1, cmd.taps), cmd.cols))]
        return conv, acts | pool

    def _queue(self, m):
        """One bit for each queue: the command is for it."""
        return Cat(_late(m, Cat(self.cmd.payload.opcode == o for o in queue).any()) for queue in QUEUES.values())

    def _image(self):
        """Whether the command reads an image."""
        return (self.cmd.payload.opcode == Opcode.LOAD_ACT) & self.cmd.payload.image

    def _rows(self):
        """Rows of DRAM that the command moves."""
        cmd = self.cmd.payload
        outside = Cat(cmd.above ^ cmd.below, cmd.above & cmd.below)
        return Mux(self._image(), ((cmd.rows << cmd.pair) - outside)[:17], cmd.rows)

    def _moves(self):
        """Whether the command has a region in DRAM."""
        return Cat(self.cmd.payload.opcode == o for o in Opcode if o.name.startswith(("LOAD", "STORE"))).any()

    def _bytes(self, m, inner):
        """Bytes of the DRAM region, but for those from its first row to its last."""
        cmd, out = self.cmd.payload, Signal(50)
        image, tail = _late(m, self._image()), _late(m, cmd.bytes + (self.port_bytes - 1))
        stream = _late(m, self._stream_beats())
        stream = _late(m, _late(m, cmd.stride * (self.ports - 1)) + stream * self.port_bytes)
        records = _late(m, (cmd.count * PARAM_BYTES + (self.port_bytes - 1)) & ~(self.port_bytes - 1))
        with m.Switch(cmd.opcode):
            with m.Case(Opcode.LOAD_WEIGHTS):
                m.d.comb += out.eq(stream)
            with m.Case(Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES):
                m.d.comb += out.eq(records)
            with m.Default():
                m.d.comb += out.eq(Mux(image, tail, inner * self.act_group_bytes))
        return out

    def _stream_beats(self):
        """Beats of each port for a LOAD_WEIGHTS."""
        cmd = self.cmd.payload
        plain = cmd.count * self.weight_beats
        return Mux(cmd.beats != 0, cmd.beats, plain) if self.decode_lanes else plain

    def _fields(self, m):
        """Registers whether the command is unknown, and whether it has a field outside the configuration."""
        cmd, late = self.cmd.payload, partial(_late, m)
        low = (1 << self.port_bytes.bit_length() - 1) - 1
        address, stride = late((cmd.dram & low) != 0), late((cmd.stride & low) != 0)
        area = late((cmd.rows == 0) | (cmd.cols == 0))
        out, res, records_held = self._view(m, "out"), self._view(m, "res"), self.param_depth * self.slots
        taps = late((cmd.taps == 0) | (cmd.groups == 0)) | late(late(cmd.tap_base + cmd.taps) > self.tap_depth)

        image = (cmd.bytes == 0) | (cmd.above & cmd.below & ~cmd.pair & (cmd.rows == 1))
        image |= cmd.pair & (self.image_lanes == 1)
        end, coded = late(cmd.dst + cmd.count), late(cmd.count * self.weight_beats) if self.decode_lanes else 0

        def records(depth):
            return address | late(cmd.count == 0) | late(end > depth)

        wrong = {
            Opcode.END: 0,
            Opcode.LOAD_WEIGHTS: records(self.weight_depth) | stride | late(cmd.beats > coded),
            Opcode.LOAD_PARAMS: records(records_held),
            Opcode.LOAD_TAPS: records(self.tap_depth),
            Opcode.LOAD_TABLES: records(TABLE_RECORDS * self.tables),
            Opcode.LOAD_ACT: Mux(cmd.image, late(image), address | stride) | area | out,
            Opcode.STORE_ACT: address | stride | area | out,
            # Sums of a part (acc_last is 0) have no output yet.
            Opcode.CONV: area | taps | late((cmd.depth == 0) | (cmd.tiles == 0)) | late(cmd.pitch == 0)
            | late((cmd.residual & (cmd.mem_res == cmd.mem_in)) | (~(cmd.acc_first & cmd.acc_last) & (cmd.tiles != 1)))
            | late(cmd.start_x >= cmd.pitch) | late(cmd.in_row & late(self._no_row()))
            | (cmd.acc_last & (out | (cmd.residual & res) | late(late(cmd.param_base + self.slots) > records_held)
                               | late((cmd.table > self.tables) | (cmd.shift > 63)) | late(cmd.lo > cmd.hi))),
            Opcode.POOL: area | taps | out | res}
        found, unknown = Signal(), Signal()
        with m.Switch(cmd.opcode):
            for opcode, value in wrong.items():
                with m.Case(opcode):
                    m.d.comb += found.eq(late(value))
            with m.Default():
                m.d.comb += unknown.eq(1)
        return late(unknown | (cmd.magic != MAGIC)), late(found)

    def _no_row(self):
        """Whether the taps of a convolution cannot be in a row."""
        cmd = self.cmd.payload
        if self.row_taps == 1:
            return C(1)
        return cmd.wide | ~cmd.acc_first | ~cmd.acc_last | (cmd.depth != 1) | (cmd.taps > ROW_STEPS)

    def _view(self, m, prefix):
        """Whether a view has banks or addresses that do not exist; one address past the end is a row not visited."""
        cmd = self.cmd.payload
        banks = *BANKS, "step_bank"
        return (_late(m, Cat(cmd[f"{prefix}_{n}"] >= self.pixels for n in banks).any())
                | _late(m, (cmd[f"{prefix}_groups"] == 0)
                        | Cat(cmd[f"{prefix}_{n}"] > self.act_depth for n in ADDRESSES).any()))


def _late(m, value):
    """What a value that depends on the command alone was in the cycle before: the command stays, and up to five such
    registers in a row have what is right before it is judged."""
    value = Value.cast(value)
    late = Signal(value.shape(), reset_less=True)
    m.d.sync += late.eq(value)
    return late
