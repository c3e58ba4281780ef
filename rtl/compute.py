"""The compute side: parameter and tap tables, feeder, array core, post and pool units, and the order among them."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spec.commands import Opcode
from spec.config import EngineConfig
from spec.registers import Trace

from .array import Core
from .feed import Feeder
from .memory import read_records, record_table
from .post import Pool, Post
from .prim import (
    COMMAND, Queue, ResetInserter, act_write_port, add_shared, feed_port, gather_port, join_ports, loaded_ports,
    memory_side, table_port, write_port)

__all__ = ["Compute"]


class Compute(wiring.Component):
    """Takes CONV and POOL commands whose semaphores have been taken.

    A CONV goes to the feeder and to the post queue, a POOL to the post queue alone. The feeder may run ahead, but does
    not start on a memory that queued post or pool commands still gather from (``blocked``); a command is taken only
    while the feeder holds no waiting one, and none has its residual in the memory of its input, so whatever it waits
    for is older than itself. A pool starts when every convolution before it has been fed.

    Parameters
    ----------
    config : :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : commands.
    clear : forget everything.
    w, p, t, table _en, _addr, _data : :func:`loaded_ports`.
    feed_en, feed_mem, feed_addr, feed_data, gather_en, gather, gathered, write_en, write : to the activation memories.
    feed, post : semaphores when the array has read what it needs, and when the outputs of a command can be read.
    idle, progress, accumulates : no command is here; something happened; the array took a k-step.
    trace_valid, trace_event, trace_tag : as in :class:`rtl.top.Engine`.
    """

    def __init__(self, config):
        self._config = c = config
        super().__init__({
            "cmd": In(stream.Signature(COMMAND)), "clear": In(1), **memory_side(loaded_ports(c)),
            **feed_port(c), **gather_port(c), **act_write_port(c),
            "feed": Out(8), "post": Out(8), "idle": Out(1), "progress": Out(1), "accumulates": Out(1),
            "trace_valid": Out(1), "trace_event": Out(2), "trace_tag": Out(16)})

    @property
    def config(self) -> EngineConfig:
        return self._config

    def elaborate(self, platform):
        m = Module()
        c = self._config
        feeder, core, post, pool = Feeder.of(c), Core.of(c), Post.of(c), Pool.of(c)
        for name, unit in (("feeder", feeder), ("core", core), ("post_unit", post), ("pool", pool)):
            add_shared(m, name, unit, platform)
            m.d.comb += unit.clear.eq(self.clear)
        self._tables(m, feeder, post, pool)
        take, head, free, leaves = self._queue(m, feeder, post, pool)
        done = Signal()
        m.d.comb += [done.eq(post.done | pool.done), self.post.eq(post.post | pool.post), self.feed.eq(feeder.feed)]
        self._order(m, feeder, post, take, head, leaves, done)
        self._array(m, feeder, core, post)
        self._activations(m, feeder, post, pool)

        # What the host and the watchdog see.
        busy = Signal()
        m.d.comb += [busy.eq(head.valid | ~free | ~feeder.idle), self.idle.eq(~busy),
                     self.accumulates.eq(feeder.step.valid),
                     self.progress.eq(feeder.step.valid | self.write_en | done)]
        m.d.comb += [
            self.trace_valid.eq(done | feeder.started | feeder.finished),
            self.trace_event.eq(Mux(done, Trace.DONE.value, Mux(feeder.finished, Trace.FED.value, Trace.BEGUN.value))),
            self.trace_tag.eq(Mux(done, Mux(pool.done, pool.tag, post.tag), feeder.tag))]
        return m

    def _tables(self, m, feeder, post, pool):
        """Tables that the load unit fills."""
        c = self._config
        params = record_table(m, "params", c.param_depth * c.slots, (self.p_en, self.p_addr, self.p_data))
        p_read = params.read_port()
        read_records(m, p_read, post.p_en, post.p_addr, post.p_data)
        join_ports(m, table_port(c.tables), self, post)
        taps = record_table(m, "taps", c.tap_depth, (self.t_en, self.t_addr, self.t_data))
        t_feeder, t_pool = taps.read_port(), taps.read_port()
        read_records(m, t_feeder, feeder.tap_en, feeder.tap_addr, feeder.tap)
        read_records(m, t_pool, 1, pool.tap_addr, pool.tap)

    def _queue(self, m, feeder, post, pool):
        """A command goes to the post queue, a CONV to the feeder as well; post and pool work in turn."""
        queue = Queue(COMMAND, self._config.queue_depth, buffered=True)
        m.submodules.queue = ResetInserter(self.clear)(queue)
        is_conv, take = Signal(), Signal()
        m.d.comb += [is_conv.eq(self.cmd.payload.opcode == Opcode.CONV),
                     self.cmd.ready.eq(queue.i.ready & feeder.cmd.ready & ~self.clear),
                     take.eq(self.cmd.valid & self.cmd.ready),
                     queue.i.valid.eq(take), queue.i.payload.eq(self.cmd.payload),
                     feeder.cmd.valid.eq(take & is_conv), feeder.cmd.payload.eq(self.cmd.payload)]
        head, free, leaves = queue.o.payload, Signal(), Signal()
        m.d.comb += [free.eq(post.cmd.ready & pool.cmd.ready), queue.o.ready.eq(free), leaves.eq(free & queue.o.valid),
                     post.cmd.payload.eq(head), pool.cmd.payload.eq(head),
                     post.cmd.valid.eq(queue.o.valid & free & (head.opcode == Opcode.CONV)),
                     pool.cmd.valid.eq(queue.o.valid & free & (head.opcode == Opcode.POOL))]
        return take, queue.o, free, leaves

    def _order(self, m, feeder, post, take, head, leaves, done):
        """What the units have to wait for: ``fed`` of the post unit, ``blocked`` of the feeder."""
        most = self._config.queue_depth + 4
        # Convolutions that are fed, and that the post unit is not yet through with.
        fed = Signal(range(most))
        m.d.sync += fed.eq(fed + feeder.finished - post.done)
        with m.If(self.clear):
            m.d.sync += fed.eq(0)
        m.d.comb += post.fed.eq(fed != 0)

        # Commands in the post queue or unit that gather from each memory.
        gathers = Signal(2)
        gathers_head = Signal(2)
        running = Signal(2)
        for mem in range(2):
            for flag, command in ((gathers, self.cmd.payload), (gathers_head, head.payload)):
                m.d.comb += flag[mem].eq(Mux(command.opcode == Opcode.CONV, command.residual & (command.mem_res == mem),
                                             command.mem_in == mem))
            pending = Signal(range(most), name=f"pending{mem}")
            m.d.sync += pending.eq(pending + (take & gathers[mem]) - (done & running[mem]))
            with m.If(leaves):
                m.d.sync += running[mem].eq(gathers_head[mem])
            with m.If(self.clear):
                m.d.sync += pending.eq(0)
            m.d.comb += feeder.blocked[mem].eq(pending != 0)

    def _array(self, m, feeder, core, post):
        c = self._config
        join_ports(m, write_port("w", c.weight_depth, len(core.w_data)), self, core)
        m.d.comb += [
            core.step.eq(feeder.step), core.r_addr.eq(feeder.r_addr),
            core.acts.eq(feeder.acts), feeder.room.eq(core.room), core.reserve.eq(feeder.reserve),
            post.row.valid.eq(core.row.valid), post.row.payload.eq(core.row.payload), core.row.ready.eq(post.row.ready)]

    def _activations(self, m, feeder, post, pool):
        """Post and pool unit share gathers and writes: one of them works."""
        pooling = Signal()
        m.d.comb += pooling.eq(pool.gather_en)
        join_ports(m, feed_port(self._config), feeder, self)
        m.d.comb += [
            self.gather_en.eq(post.gather_en | pooling), self.gather.eq(Mux(pooling, pool.gather, post.gather)),
            post.gathered.eq(self.gathered), pool.gathered.eq(self.gathered),
            self.write_en.eq(post.write_en | pool.write_en), self.write.eq(Mux(pool.write_en, pool.write, post.write))]
