"""The compute side: parameter and tap tables, feeder, array core, post and pool units, and the order among them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out, connect, flipped

from spec import latency, memories
from spec.commands import POSTED, Opcode
from spec.config import DSP_DEVICES, LUT_FORMS
from spec.registers import Trace
from spec.rows import ROW_TAPS

from .array import Core
from .feed import Feeder
from .memory import read_records, record_table
from .post import Pool, Post
from .prim import (
    COMMAND, Parameter, Queue, ResetInserter, SomeFields, WithFilters, activations, add_shared, change, loaded)

__all__ = ["Compute"]


class Compute(WithFilters):
    """Takes CONV and POOL commands whose semaphores have been taken.

    A CONV goes to the feeder and to the post queue, a POOL to the post queue alone. The feeder may run ahead, but does
    not start on a memory that queued post or pool commands still gather from (``blocked``); a command is taken only
    while the feeder holds no waiting one, and none has its residual in the memory of its input, so whatever it waits
    for is older than itself. A pool starts when every convolution before it has been fed.

    Parameters
    ----------
    ic, pixels, dsp_filters, lut_filters, act_digit_bits, acc_width, dsp_device, portable_dsp, lut_form, joined_width,
    act_depth, weight_depth, param_depth, tap_depth, out_pixels, row_taps, tables, queue_depth : as in
        :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : commands.
    clear : forget everything.
    memories : what the load unit writes (:func:`rtl.prim.loaded`).
    activations : to the activation memories (:func:`rtl.prim.activations`).
    release, give : semaphores when the array has read what it needs, and when the outputs of a command can be read.
    idle, progress, accumulates : no command is here; something happened; the array took a k-step.
    trace_valid, trace_event, trace_tag : as in :class:`rtl.top.Engine`.
    """

    ic = Parameter()
    pixels = Parameter(2, even=True)
    act_digit_bits = Parameter(high=8)
    acc_width = Parameter(2)
    dsp_device = Parameter(choices=DSP_DEVICES)
    portable_dsp = Parameter(choices=(False, True))
    lut_form = Parameter(choices=LUT_FORMS)
    joined_width = Parameter(2)
    act_depth = Parameter()
    weight_depth = Parameter()
    param_depth = Parameter()
    tap_depth = Parameter()
    out_pixels = Parameter()
    row_taps = Parameter(high=ROW_TAPS)
    tables = Parameter(0, high=15)
    queue_depth = Parameter()

    def members(self) -> dict[str, Member]:
        return {
            "cmd": In(stream.Signature(COMMAND)), "clear": In(1), "memories": In(loaded(self)),
            "activations": Out(activations(self)),
            "release": Out(8), "give": Out(8), "idle": Out(1), "progress": Out(1), "accumulates": Out(1),
            "trace_valid": Out(1), "trace_event": Out(2), "trace_tag": Out(16)}

    def elaborate(self, platform):
        m = Module()
        feeder, core, post, pool = Feeder.of(self), Core.of(self), Post.of(self), Pool.of(self)
        for name, unit in (("feeder", feeder), ("core", core), ("post_unit", post), ("pool", pool)):
            add_shared(m, name, unit, platform)
            m.d.comb += unit.clear.eq(self.clear)
        self._memories(m, feeder, post, pool)
        take, head = self._queue(m, feeder, post, pool)
        done = Signal()
        m.d.comb += [done.eq(post.done | pool.done), self.give.eq(post.give | pool.give),
                     self.release.eq(feeder.release)]
        self._order(m, feeder, post, pool, take)
        self._array(m, feeder, core, post)
        self._activations(m, feeder, post, pool)

        # What the host and the watchdog see.
        busy = Signal()
        m.d.comb += [busy.eq(head.valid | ~post.idle | ~pool.cmd.ready | ~feeder.idle), self.idle.eq(~busy),
                     self.accumulates.eq(feeder.step.valid),
                     self.progress.eq(feeder.step.valid | self.activations.write.en.any() | done)]
        m.d.comb += [
            self.trace_valid.eq(done | feeder.started | feeder.finished),
            self.trace_event.eq(Mux(done, Trace.DONE.value, Mux(feeder.finished, Trace.FED.value, Trace.BEGUN.value))),
            self.trace_tag.eq(Mux(done, Mux(pool.done, pool.tag, post.tag), feeder.tag))]
        return m

    def _memories(self, m, feeder, post, pool):
        """Tables that the load unit fills."""
        params = record_table(m, "params", memories.params(self), self.memories.params)
        read_records(m, params, post.param, latency.record(self))
        connect(m, flipped(self.memories.tables), post.tables_write)
        taps = record_table(m, "taps", memories.taps(self), self.memories.taps)
        for unit in (feeder, pool):
            read_records(m, taps, unit.tap, latency.record(self))

    def _queue(self, m, feeder, post, pool):
        """A command goes to the post queue, a CONV to the feeder as well; post and pool work in turn, while the post
        unit has a command before it is through with the one before."""
        some, shape = SomeFields(POSTED), memories.commands(self)
        queue = Queue(shape.width, shape.depth, buffered=True)
        m.submodules.queue = ResetInserter(self.clear)(queue)
        is_conv, take = Signal(), Signal()
        m.d.comb += [is_conv.eq(self.cmd.payload.opcode == Opcode.CONV),
                     self.cmd.ready.eq(queue.i.ready & feeder.cmd.ready & ~self.clear),
                     take.eq(self.cmd.valid & self.cmd.ready),
                     queue.i.valid.eq(take), queue.i.payload.eq(some.pack(self.cmd.payload)),
                     feeder.cmd.valid.eq(take & is_conv), feeder.cmd.payload.eq(self.cmd.payload)]
        head, pools, free = some.unpack(queue.o.payload), Signal(), Signal()
        m.d.comb += [pools.eq(head.opcode == Opcode.POOL),
                     free.eq(pool.cmd.ready & Mux(pools, post.idle, post.cmd.ready)), queue.o.ready.eq(free),
                     post.cmd.payload.eq(head), pool.cmd.payload.eq(head),
                     post.cmd.valid.eq(queue.o.valid & free & ~pools),
                     pool.cmd.valid.eq(queue.o.valid & free & pools)]
        return take, queue.o

    def _order(self, m, feeder, post, pool, take):
        """What the units have to wait for: ``fed`` of the post unit, ``blocked`` of the feeder."""
        # In the queue, next in the post unit, in work there, and on their way out.
        most = self.queue_depth + 3 + latency.post_done(self)
        # Convolutions that are fed, and that the post unit is not yet through with.
        fed = Signal(range(most))
        m.d.sync += fed.eq(fed + change(feeder.finished, post.through))
        with m.If(self.clear):
            m.d.sync += fed.eq(0)
        m.d.comb += post.fed.eq(fed != 0)

        # Commands in the post queue or unit that gather from each memory.
        command, gathers = self.cmd.payload, Signal(2)
        for mem in range(2):
            m.d.comb += gathers[mem].eq(Mux(command.opcode == Opcode.CONV, command.residual & (command.mem_res == mem),
                                            command.mem_in == mem))
            pending, ends = Signal(range(most), name=f"pending{mem}"), Signal(name=f"ends{mem}")
            m.d.comb += ends.eq((post.done & post.gathered[mem]) | (pool.done & pool.gathered[mem]))
            m.d.sync += pending.eq(pending + change(take & gathers[mem], ends))
            with m.If(self.clear):
                m.d.sync += pending.eq(0)
            m.d.comb += feeder.blocked[mem].eq(pending != 0)

    def _array(self, m, feeder, core, post):
        connect(m, flipped(self.memories.weights), core.write)
        if self.row_taps > 1:
            m.d.comb += core.previous.eq(feeder.previous)
        m.d.comb += [
            core.step.eq(feeder.step), core.r_addr.eq(feeder.r_addr),
            core.acts.eq(feeder.acts), feeder.room.eq(core.room), core.reserve.eq(feeder.reserve),
            post.row.valid.eq(core.row.valid), post.row.payload.eq(core.row.payload), core.row.ready.eq(post.row.ready)]

    def _activations(self, m, feeder, post, pool):
        """Post and pool unit share gathers and writes: one of them works."""
        gather, write = self.activations.gather, self.activations.write
        connect(m, feeder.bank, flipped(self.activations.feed))
        m.d.comb += [
            pool.stores.eq(self.activations.stores),
            gather.en.eq(post.gather.en | pool.gather.en), gather.mems.eq(post.gather.mems | pool.gather.mems),
            gather.place.eq(Mux(pool.works, pool.gather.place, post.gather.place)),
            post.gather.codes.eq(gather.codes), pool.gather.codes.eq(gather.codes),
            write.en.eq(post.write.en | pool.write.en), write.mems.eq(post.write.mems | pool.write.mems),
            write.mask.eq(Mux(pool.works, pool.write.mask, post.write.mask)),
            write.word.eq(Mux(pool.works, pool.write.word, post.write.word))]
