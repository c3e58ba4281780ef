"""The compute side: parameter and tap tables, feeder, array core, post and pool units, and the order among them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spec.commands import Opcode

from .array import Core
from .feed import Feeder
from .post import Pool, Post
from .prim import (
    COMMAND, Queue, ResetInserter, bank_addrs_layout, bank_data_layout, codes_layout, place, place_layout,
    table_members, write_layout)

__all__ = ["Compute"]


class Compute(wiring.Component):
    """Takes CONV and POOL commands whose semaphores have been taken.

    A CONV goes to the feeder and to the post queue, a POOL to the post queue alone. The feeder may run ahead, but does not
    start on a memory that queued post or pool commands still gather from (``blocked``); a command is taken only
    while the feeder holds no waiting one, and none has its residual in the memory of its input, so whatever it waits for is
    older than itself. A pool starts when every convolution before it has been fed.
    """

    def __init__(self, config):
        self.config = c = config
        super().__init__({
            "cmd": In(stream.Signature(COMMAND)), "clear": In(1),
            "w_en": In(1), "w_addr": In(range(c.weight_depth)), "w_data": In(c.slots * c.ic * 4),
            "p_en": In(1), "p_addr": In(range(c.param_depth * c.slots)), "p_data": In(128),
            "t_en": In(1), "t_addr": In(range(c.tap_depth)), "t_data": In(128), **table_members(c.tables),
            "feed_en": Out(1), "feed_mem": Out(1), "feed_addr": Out(bank_addrs_layout(c)),
            "feed_data": In(bank_data_layout(c)),
            "gather_en": Out(1), "gather": Out(place_layout(c)), "gathered": In(codes_layout(c)),
            "write_en": Out(1), "write": Out(write_layout(c)),
            "feed": Out(8), "post": Out(8), "idle": Out(1), "progress": Out(1), "accumulates": Out(1),
            "trace_valid": Out(1), "trace_event": Out(2), "trace_tag": Out(16)})

    def elaborate(self, platform):
        m = Module()
        c = self.config
        feeder, core, post, pool = Feeder(c), Core(c), Post(c), Pool(c)
        for name, unit in (("feeder", feeder), ("core", core), ("post_unit", post), ("pool", pool)):
            place(m, name, unit, platform)
            m.d.comb += unit.clear.eq(self.clear)

        # Tables that the load unit fills.
        m.submodules.params = params = Memory(shape=128, depth=c.param_depth * c.slots, init=[])
        m.submodules.taps = taps = Memory(shape=128, depth=c.tap_depth, init=[])
        p_write, p_read = params.write_port(), params.read_port()
        t_write, t_feeder, t_pool = taps.write_port(), taps.read_port(), taps.read_port()
        m.d.comb += [
            p_write.en.eq(self.p_en), p_write.addr.eq(self.p_addr), p_write.data.eq(self.p_data),
            p_read.en.eq(post.p_en), p_read.addr.eq(post.p_addr), post.p_data.eq(p_read.data),
            *(getattr(post, name).eq(getattr(self, name)) for name in table_members(c.tables)),
            t_write.en.eq(self.t_en), t_write.addr.eq(self.t_addr), t_write.data.eq(self.t_data),
            t_feeder.en.eq(feeder.tap_en), t_feeder.addr.eq(feeder.tap_addr), feeder.tap.eq(t_feeder.data),
            t_pool.en.eq(1), t_pool.addr.eq(pool.tap_addr), pool.tap.eq(t_pool.data)]

        # A command goes to the post queue, a CONV to the feeder as well.
        queue = Queue(COMMAND, c.queue_depth, buffered=True)
        m.submodules.queue = ResetInserter(self.clear)(queue)
        is_conv, take = Signal(), Signal()
        m.d.comb += [is_conv.eq(self.cmd.payload.opcode == Opcode.CONV),
                     self.cmd.ready.eq(queue.i.ready & feeder.cmd.ready & ~self.clear),
                     take.eq(self.cmd.valid & self.cmd.ready),
                     queue.i.valid.eq(take), queue.i.payload.eq(self.cmd.payload),
                     feeder.cmd.valid.eq(take & is_conv), feeder.cmd.payload.eq(self.cmd.payload)]

        # Post and pool work in turn.
        head, free, leaves = queue.o.payload, Signal(), Signal()
        m.d.comb += [free.eq(post.cmd.ready & pool.cmd.ready), queue.o.ready.eq(free), leaves.eq(free & queue.o.valid),
                     post.cmd.payload.eq(head), pool.cmd.payload.eq(head),
                     post.cmd.valid.eq(queue.o.valid & free & (head.opcode == Opcode.CONV)),
                     pool.cmd.valid.eq(queue.o.valid & free & (head.opcode == Opcode.POOL))]
        done = Signal()
        m.d.comb += [done.eq(post.done | pool.done), self.post.eq(post.post | pool.post), self.feed.eq(feeder.feed)]

        # Convolutions that are fed, and that the post unit is not yet through with.
        fed = Signal(range(c.queue_depth + 4))
        m.d.sync += fed.eq(fed + feeder.finished - post.done)
        with m.If(self.clear):
            m.d.sync += fed.eq(0)
        m.d.comb += post.fed.eq(fed != 0)

        # Commands in the post queue or unit that gather from each memory.
        gathers = Signal(2)
        gathers_head = Signal(2)
        running = Signal(2)
        for mem in range(2):
            for flag, command in ((gathers, self.cmd.payload), (gathers_head, head)):
                m.d.comb += flag[mem].eq(Mux(command.opcode == Opcode.CONV, command.residual & (command.mem_res == mem),
                                             command.mem_in == mem))
            pending = Signal(range(c.queue_depth + 4), name=f"pending{mem}")
            m.d.sync += pending.eq(pending + (take & gathers[mem]) - (done & running[mem]))
            with m.If(leaves):
                m.d.sync += running[mem].eq(gathers_head[mem])
            with m.If(self.clear):
                m.d.sync += pending.eq(0)
            m.d.comb += feeder.blocked[mem].eq(pending != 0)

        # Array.
        m.d.comb += [
            core.w_en.eq(self.w_en), core.w_addr.eq(self.w_addr), core.w_data.eq(self.w_data),
            core.step.eq(feeder.step), core.r_addr.eq(feeder.r_addr),
            core.acts.eq(feeder.acts), feeder.room.eq(core.room), core.reserve.eq(feeder.reserve),
            post.row.valid.eq(core.row.valid), post.row.payload.eq(core.row.payload), core.row.ready.eq(post.row.ready)]

        # Activation memories.
        pooling = Signal()
        m.d.comb += pooling.eq(pool.gather_en)
        m.d.comb += [
            self.feed_en.eq(feeder.feed_en), self.feed_mem.eq(feeder.feed_mem), self.feed_addr.eq(feeder.feed_addr),
            feeder.feed_data.eq(self.feed_data),
            self.gather_en.eq(post.gather_en | pooling), self.gather.eq(Mux(pooling, pool.gather, post.gather)),
            post.gathered.eq(self.gathered), pool.gathered.eq(self.gathered),
            self.write_en.eq(post.write_en | pool.write_en), self.write.eq(Mux(pool.write_en, pool.write, post.write))]

        # What the host and the watchdog see.
        busy = Signal()
        m.d.comb += [busy.eq(queue.o.valid | ~free | ~feeder.idle), self.idle.eq(~busy),
                     self.accumulates.eq(feeder.step.valid),
                     self.progress.eq(feeder.step.valid | self.write_en | done)]
        m.d.comb += [
            self.trace_valid.eq(done | feeder.started | feeder.finished),
            self.trace_event.eq(Mux(done, 2, Mux(feeder.finished, 1, 0))),
            self.trace_tag.eq(Mux(done, Mux(pool.done, pool.tag, post.tag), feeder.tag))]
        return m
