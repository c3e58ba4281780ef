"""Runs a program: fetch, check, queues, END, errors and the watchdog."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec.commands import COMMAND_BYTES, SEMAPHORES, Error, Opcode
from spec.config import PORT_BITS

from ..prim import COMMAND, Parameter, delay, error_layout, join_streams, request_layout, small_sum
from .check import Check
from .fetch import Fetch
from .limits import Limits
from .queues import QUEUES, Queues

__all__ = ["Control", "QUIET"]

GIVEN = ("load_give", "store_give", "compute_give", "compute_release")
QUIET = 8           # cycles without work before END believes it; also the shortest ``clear``


class Control(Limits):
    """The engine's life: idle, running, stopping.

    ``start`` (while idle) runs the program until its END has everything before it done: then ``done``. ``abort`` or any
    error stops: ``code`` and ``tag`` appear soon, ``clear`` is high until bus and units are idle, then ``error``
    rises and ``busy`` falls. When the bus does not become idle within ``watchdog`` cycles ``error`` rises all the same
    and ``busy`` stays. A window or program that leaves the address space or the window gives WINDOW, a program without
    END gives OPCODE, both with the tag of the last command (0 if none). SEMAPHORE: END or a command waits for
    semaphores, and everything before it is done; its tag. What the registers say counts when the program starts. The
    tag of READ and WRITE is that of the last command given to the load and store unit.

    Parameters
    ----------
    addr_bits, port_bits, beat_bits, queue_depth : as in :class:`spec.config.EngineConfig`. The others are those of
        :class:`Limits`.

    Members
    -------
    start, abort, base, size, cmd_offset, cmd_count, watchdog : from the registers.
    window : ``base`` of the running program.
    req, data : command fetch, to the arbiter of read port 0.
    load, compute, store : commands whose semaphores have been taken.
    load_give, store_give, compute_give, compute_release : semaphores that the units give.
    load_idle, store_idle, compute_idle : no command in the unit; may follow up to 6 cycles after it took one.
    progress : something moved; the watchdog starts again.
    load_error, store_error : errors of the units.
    read_error, write_error, ports_idle : state of the bus ports.
    busy, done, error, code, tag, cycles, commands : state; ``commands`` counts those given to units, START and END.
    clear : units and ports forget what they do.
    """

    addr_bits = Parameter(32, high=64)
    port_bits = Parameter(choices=PORT_BITS)
    beat_bits = Parameter()
    queue_depth = Parameter()

    def members(self) -> dict[str, Member]:
        command = stream.Signature(COMMAND)
        return {
            "start": In(1), "abort": In(1), "base": In(self.addr_bits), "size": In(32), "cmd_offset": In(32),
            "cmd_count": In(32),
            "watchdog": In(32), "window": Out(self.addr_bits),
            "req": Out(stream.Signature(request_layout(self))), "data": In(stream.Signature(self.port_bits)),
            **{name: Out(command) for name in QUEUES},
            **{name: In(SEMAPHORES) for name in GIVEN},
            **{f"{unit}_idle": In(1) for unit in QUEUES}, "progress": In(1),
            "load_error": In(error_layout()), "store_error": In(error_layout()),
            "read_error": In(1), "write_error": In(1), "ports_idle": In(1),
            "busy": Out(1), "done": Out(1), "error": Out(1), "code": Out(8), "tag": Out(16), "cycles": Out(64),
            "commands": Out(32), "clear": Out(1)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = fetch = Fetch.of(self)
        m.submodules.check = check = Check.of(self)
        m.submodules.queues = queues = Queues.of(self)
        run, beginning, passed = self._program(m, fetch, check, queues)
        given, tags = self._give(m, queues)
        out, last_tag, left, ended = check.out, Signal(16), Signal(32), Signal()
        m.d.sync += ended.eq(left == 0)
        with m.If(passed):
            m.d.sync += [last_tag.eq(out.payload.tag), left.eq(left - 1)]

        begin, running, stalled = Signal(), Signal(), Signal()
        moved, worked = self._moves(m, fetch, passed, given, beginning, running)
        expired = self._watchdog(m, run["watchdog"], begin, moved, stalled)
        quiet, still = self._quiet(m, out, worked)
        outside = self._outside(m, run)
        error = self._errors(m, check, queues, tags, last_tag, ended, expired, running)

        # Invariant: outside RUN no unit has a command. Only STOP sets ``error``, only FLUSH sets ``done``.
        with m.FSM(name="engine") as fsm:
            with m.State("IDLE"):
                with m.If(self.start & ~self.abort):
                    m.d.sync += [
                        *(signal.eq(getattr(self, name)) for name, signal in run.items()),
                        *(tag.eq(0) for tag in tags.values()), *self._forget(), last_tag.eq(0), left.eq(self.cmd_count)]
                    m.next = "PLACE"
            for state, following in (("PLACE", "COMPARE"), ("COMPARE", "BEGIN")):
                with m.State(state):
                    m.next = following
                    with m.If(self.abort):
                        self._stop(m, Error.ABORT, 0, quiet, still)
            with m.State("BEGIN"):
                with m.If(outside | self.abort):
                    self._stop(m, Mux(self.abort, Error.ABORT, Error.WINDOW), 0, quiet, still)
                with m.Else():
                    m.d.comb += [begin.eq(1), fetch.start.eq(1)]
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += running.eq(1)
                m.d.sync += self.cycles.eq(self.cycles + 1)
                self._run(m, error, quiet, still, queues, out)
            with m.State("FLUSH"):
                # END stands in the check, commands behind it may be on the way.
                with m.If(error.valid):         # of the last cycle of RUN
                    self._stop(m, error.code, error.tag, quiet, still)
                with m.Elif(quiet):
                    m.d.sync += [self.done.eq(1), self.clear.eq(0)]
                    m.next = "IDLE"
                with m.Elif(stalled):
                    m.d.sync += [self.code.eq(Error.TIMEOUT), self.tag.eq(last_tag)]
                    m.next = "STOP"
            with m.State("STOP"):
                with m.If(quiet):
                    m.d.sync += self.clear.eq(0)
                    m.next = "IDLE"
                with m.If(quiet | stalled):
                    m.d.sync += self.error.eq(1)
        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return m

    def _moves(self, m, fetch, passed, given, beginning, running):
        """Counts commands. Whether something moved, two cycles ago, and whether a unit was given a command or gave
        semaphores in the cycle before."""
        moved, worked, counted, gave = Signal(), Signal(), Signal(4), Signal(3)
        gives = Cat(*given, *(getattr(self, name).any() for name in GIVEN)).any()
        total = small_sum(small_sum(counted[0], counted[1]), counted[2], counted[3])
        m.d.sync += [worked.eq(gives), moved.eq(self.progress | fetch.progress | passed | worked),
                     counted.eq(Mux(running, Cat(*given, beginning), 0)), gave.eq(total),
                     self.commands.eq(self.commands + gave)]
        return moved, worked

    def _program(self, m, fetch, check, queues):
        """Fetch to check to queues.

        Returns what the registers said when the program started, whether a START passes the check, and whether any
        command does.
        """
        out, beginning, passed = check.out, Signal(), Signal()
        run = {name: Signal(32, name=f"run_{name}") for name in ("size", "cmd_offset", "cmd_count", "watchdog")}
        run["base"] = self.window
        m.d.comb += [
            *(u.clear.eq(self.clear) for u in (fetch, check, queues)),
            fetch.at.eq(run["base"] + run["cmd_offset"]), fetch.count.eq(run["cmd_count"]), check.size.eq(run["size"]),
            beginning.eq(out.valid & (out.payload.opcode == Opcode.START)),
            passed.eq(out.valid & out.ready), queues.cmd.payload.eq(out.payload), queues.cmd.valid.eq(out.valid),
            queues.into.eq(check.into),
            out.ready.eq(beginning | queues.cmd.ready), queues.wait.eq(out.payload.wait),
            *(queues.give[n].eq(getattr(self, name)) for n, name in enumerate(GIVEN))]
        join_streams(m, fetch.req, self.req)
        join_streams(m, self.data, fetch.data)
        join_streams(m, fetch.cmd, check.cmd)
        return run, beginning, passed

    def _give(self, m, queues):
        """Commands to the units.

        Returns whether each unit is given one now, and for reports the tag of the last one by the unit's name.
        """
        tags, given = {}, []
        for name in QUEUES:
            join_streams(m, getattr(queues, name), getattr(self, name))
            unit, tags[name] = getattr(self, name), Signal(16, name=f"{name}_tag")
            given.append(unit.valid & unit.ready)
            with m.If(given[-1]):
                m.d.sync += tags[name].eq(unit.payload.tag)
        return given, tags

    def _quiet(self, m, out, worked):
        """Whether nothing worked for :data:`QUIET` cycles, and whether nothing did in the cycle before.

        The next command (END, or one whose queue is full) cannot go on either: what waits, waits for ever.
        """
        units_idle, ports_idle, count, quiet, still = (Signal(), Signal(), Signal(range(QUIET)), Signal(), Signal())
        ends = out.valid & ~out.ready & units_idle & ~worked
        m.d.sync += [units_idle.eq(Cat(getattr(self, f"{name}_idle") for name in QUEUES).all()),
                     ports_idle.eq(self.ports_idle), still.eq(Mux(self.clear, ports_idle & units_idle, ends)),
                     quiet.eq(still & (count == QUIET - 1)),
                     count.eq(Mux(still, count + (count != QUIET - 1), 0))]
        return quiet, still

    def _outside(self, m, run):
        """Register: whether window or program, latched three cycles before, leave the address space or the window."""
        window, program, outside = Signal(self.addr_bits + 1), Signal(33 + COMMAND_BYTES.bit_length()), Signal()
        m.d.sync += [window.eq(run["base"] + run["size"]),
                     program.eq(run["cmd_offset"] + run["cmd_count"] * COMMAND_BYTES),
                     outside.eq((window > 1 << self.addr_bits) | (program > run["size"]))]
        return outside

    def _errors(self, m, check, queues, tags, last_tag, ended, expired, running):
        """What stops a program, a cycle later: of everything that does, the first one that is true counts."""
        busiest = Signal(16)
        m.d.sync += busiest.eq(Mux(~self.compute_idle, tags["compute"], Mux(
            ~self.load_idle, tags["load"], Mux(~self.store_idle, tags["store"], last_tag))))
        load_error, store_error = (data.View(error_layout(), delay(m, error, 1))
                                   for error in (self.load_error, self.store_error))
        found = [
            (self.abort, Error.ABORT, last_tag),
            (self.read_error, Error.READ, tags["load"]),
            (self.write_error, Error.WRITE, tags["store"]),
            (check.error.valid, check.error.code, check.error.tag),
            (load_error.valid, load_error.code, load_error.tag),
            (store_error.valid, store_error.code, store_error.tag),
            (queues.overflow, Error.SEMAPHORE, last_tag),
            (ended, Error.OPCODE, last_tag),
            (expired, Error.TIMEOUT, busiest)]
        error = Signal(error_layout())
        m.d.sync += error.valid.eq(running & Cat(condition for condition, *_ in found).any())
        for condition, code, tag in reversed(found):
            with m.If(condition):
                m.d.sync += [error.code.eq(code), error.tag.eq(tag)]
        return error

    def _forget(self):
        """A new program: nothing is said of the last one."""
        return [self.done.eq(0), self.error.eq(0), self.code.eq(Error.NONE), self.tag.eq(0), self.cycles.eq(0),
                self.commands.eq(0)]

    def _stop(self, m, code, tag, quiet, still):
        """Stop, and say why."""
        m.d.sync += [self.code.eq(code), self.tag.eq(tag), quiet.eq(0), still.eq(0), self.clear.eq(1)]
        m.next = "STOP"

    def _run(self, m, error, quiet, still, queues, out):
        """The ends of state RUN: an error, END with everything before it done, or a wait for ever."""
        with m.If(error.valid):
            self._stop(m, error.code, error.tag, quiet, still)
        with m.Elif(quiet):
            m.d.sync += [quiet.eq(0), still.eq(0)]
            with m.If(queues.empty & queues.met):
                m.d.sync += [self.commands.eq(self.commands + 1), self.clear.eq(1)]
                m.next = "FLUSH"
            with m.Else():
                self._stop(m, Error.SEMAPHORE, Mux(queues.empty, out.payload.tag, queues.waiting), quiet, still)

    def _watchdog(self, m, limit, begin, moved, stalled):
        """``stalled`` after ``limit`` cycles without a move, counted afresh when a program begins or stops.

        Returns whether a program that does not stop is.
        """
        left, was_stopping, expired, afresh = Signal(32), Signal(), Signal(), Signal()
        m.d.comb += [afresh.eq(begin | (self.clear & ~was_stopping)),
                     stalled.eq(expired & (~self.clear | was_stopping))]
        m.d.sync += [was_stopping.eq(self.clear), expired.eq((limit != 0) & (left == 0) & ~afresh)]
        with m.If(afresh | (moved & ~self.clear)):
            m.d.sync += left.eq(limit)
        with m.Else():
            m.d.sync += left.eq(left - (left != 0))
        return expired
