"""The three command queues and the semaphores between them."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec import commands
from spec.commands import FIELDS, SEMAPHORE_MAX, SEMAPHORES, used_width

from ..prim import COMMAND, Block, Parameter, Queue, ResetInserter, SomeFields

__all__ = ["Queues", "QUEUES"]

QUEUES = {name: tuple(o for o, queue in commands.QUEUES.items() if queue == name)
          for name in ("load", "compute", "store")}
GIVERS = 4
# Of a semaphore, by who gives it and whether it is taken: read from a table, so that one adder is enough.
CHANGE = Const(sum((given.bit_count() - taken & 0xF) << 4 * (given | taken << GIVERS)
                   for taken in range(2) for given in range(1 << GIVERS)), 8 << GIVERS)


class Queues(Block):
    """Sends each command to its unit when all semaphores of its ``wait`` can be taken.

    Each queue is in order and holds ``queue_depth`` commands. One queue takes semaphores in three cycles: load before
    compute before store. A unit sees its command :data:`spec.latency.TOKEN` cycles after the semaphore was given, or
    the command came, at the earliest; bits of a command that none of the queue's opcodes has read 0.

    Parameters
    ----------
    queue_depth : commands that each queue holds.

    Members
    -------
    cmd : commands. into : the queue of ``cmd``, one bit for each; with none (START, END) it is never taken.
    load, compute, store : to the units.
    give : masks of semaphores to give, from up to four units in the same cycle; all count.
    wait, met : whether every semaphore of ``wait`` was above 0 in the cycle before.
    empty : no command waits. waiting : tag of one that did in the cycle before, in the order of the queues.
    overflow : a semaphore went beyond its maximum, two cycles ago or before.
    clear : forget commands and semaphores.
    """

    queue_depth = Parameter()

    def members(self) -> dict[str, Member]:
        command = stream.Signature(COMMAND)
        return {
            "cmd": In(command), "into": In(len(QUEUES)), **{name: Out(command) for name in QUEUES},
            "give": In(SEMAPHORES).array(GIVERS),
            "wait": In(SEMAPHORES), "met": Out(1), "empty": Out(1), "waiting": Out(16), "overflow": Out(1),
            "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        most = SEMAPHORE_MAX + GIVERS
        count = [Signal(range(most + 1), name=f"semaphore{n}") for n in range(SEMAPHORES)]
        positive, taken = Signal(SEMAPHORES), Signal(SEMAPHORES)
        m.d.comb += positive.eq(Cat(n != 0 for n in count))
        for n, value in enumerate(count):
            changes = Cat(*(mask[n] for mask in self.give), taken[n])
            m.d.sync += value.eq(value + CHANGE.word_select(changes, 4).as_signed())
        m.d.sync += [self.met.eq((self.wait & ~positive) == 0),
                     self.overflow.eq(self.overflow | Cat(n > SEMAPHORE_MAX for n in count).any())]

        # A queue that wants to go, one that goes, and what it takes: in three cycles, and only then the next one.
        wants, heads, ready, settled = [], [], [], Signal()
        for number, (name, opcodes) in enumerate(QUEUES.items()):
            fields = [f for f in FIELDS.values() if set(f.opcodes) & set(opcodes)]
            some = SomeFields(fields)
            m.submodules[name] = queue = Queue(used_width(fields), self.queue_depth)
            mine, unit = self.into[number], getattr(self, name)
            m.d.comb += [queue.i.payload.eq(some.pack(self.cmd.payload)), queue.i.valid.eq(self.cmd.valid & mine)]
            ready.append(mine & queue.i.ready)
            head = some.unpack(queue.o.payload)
            granted, wish = Signal(name=f"{name}_granted"), Signal(name=f"{name}_wish")
            m.d.comb += [unit.payload.eq(head), unit.valid.eq(granted), queue.o.ready.eq(granted & unit.ready)]
            m.d.sync += wish.eq(settled & queue.o.valid & ~granted & ((head["wait"] & ~positive) == 0))
            with m.If(queue.o.ready):
                m.d.sync += granted.eq(0)
            wants.append((wish, granted, head["wait"]))
            heads.append((queue.level, head["tag"]))
        m.d.comb += self.cmd.ready.eq(Cat(ready).any())
        m.d.comb += self.empty.eq(~Cat(level for level, _ in heads).any())
        for level, tag in reversed(heads):
            with m.If(level != 0):
                m.d.sync += self.waiting.eq(tag)
        goes, went = Signal(), Signal()
        m.d.comb += [goes.eq(Cat(wish for wish, *_ in wants).any()), settled.eq(~goes & ~went)]
        m.d.sync += [went.eq(goes), taken.eq(0)]
        before = Const(0, 1)
        for wish, granted, wait in wants:
            with m.If(wish & ~before):
                m.d.sync += [taken.eq(wait), granted.eq(1)]
            before = before | wish
        return ResetInserter(self.clear)(m)
