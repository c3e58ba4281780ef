"""Commands at the edge of what an engine takes: beside each that it just takes, one that it just refuses."""

from dataclasses import dataclass, field

from spec.commands import FIELDS, VERSION, Error, Opcode, pack, unpack_record
from spec.config import EngineConfig

SIZE = 0x4000       # bytes of the window
SMALL = dict(name="test", ic=8, pixels=4, dsp_filters=4, lut_filters=2, act_depth=64, weight_depth=32, param_depth=8,
             tap_depth=32, ports=2, port_bits=64, burst=4, outstanding=4, queue_depth=2)
RECORDS = 8 * 6     # of parameters
# Two rows of three pixels, one group each, in banks 0 to 3 and on.
VIEW = {f"row_addr{p}": 0 for p in range(4)} | {f"row_bank{p}": 0 for p in range(4)} | dict(
    cur_addr0=0, cur_addr1=0, cur_bank0=0, cur_bank1=0, step_addr=0, step_bank=3, groups=1, phase_x=0, phase_y=0,
    par_x=0, par_y=0)
OUT, RES = ({f"{side}_{name}": value for name, value in VIEW.items()} for side in ("out", "res"))
ACT = dict(dram=0x400, stride=64, rows=2, cols=3, **OUT)
CONV = dict(rows=2, cols=3, taps=1, groups=1, depth=1, tiles=2, pitch=3, acc_first=1, acc_last=1, hi=255, shift=9,
            **OUT)
GOOD = {Opcode.LOAD_WEIGHTS: dict(count=2, dst=3, stride=64, dram=0x100), Opcode.LOAD_PARAMS: dict(count=4, dram=64),
        Opcode.LOAD_TAPS: dict(count=2, dst=8), Opcode.LOAD_TABLES: dict(count=16), Opcode.LOAD_ACT: ACT,
        Opcode.STORE_ACT: ACT, Opcode.CONV: CONV | dict(residual=1, mem_res=1, **RES),
        Opcode.POOL: dict(rows=2, cols=3, pitch=3, taps=1, groups=1, **OUT, **RES),
        Opcode.END: {}, Opcode.START: dict(version=VERSION)}


@dataclass
class Edge:
    """``good`` and ``bad`` are changes of ``GOOD[opcode]``, ``rule`` refuses the bad one, ``config`` the engine."""
    rule: str
    opcode: Opcode
    good: dict
    bad: dict
    config: dict = field(default_factory=dict)
    error: Error = Error.FIELD

    @property
    def name(self):
        return f"{self.opcode.name} {self.bad}"

    def engine(self):
        return EngineConfig(**SMALL | self.config)

    def commands(self):
        """All fields of both commands, also those that the opcode does not have."""
        return [unpack_record(FIELDS, pack(self.opcode, **GOOD[self.opcode] | change)) for change in (self.good,
                                                                                                      self.bad)]


L, P, T, B, A, S, C, M = (Opcode.LOAD_WEIGHTS, Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES,
                          Opcode.LOAD_ACT,
                          Opcode.STORE_ACT, Opcode.CONV, Opcode.POOL)
TABLE, CODED, ROW = dict(tables=1), dict(decode_lanes=32), dict(row_taps=3)
EDGES = [
    *(Edge("count", o, dict(count=1), dict(count=0), TABLE) for o in (L, P, T, B)),
    *(Edge("count", o, {name: 1}, {name: 0}) for o in (A, S, C, M) for name in ("rows", "cols")),
    *(Edge("count", o, {name: 1}, {name: 0}) for o in (C, M) for name in ("taps", "groups")),
    *(Edge("count", C, {name: 1}, {name: 0}) for name in ("depth", "tiles", "pitch")),
    Edge("range", L, dict(dst=30), dict(dst=31)), Edge("range", L, dict(dst=0, count=32), dict(dst=0, count=33)),
    Edge("range", P, dict(dst=RECORDS - 4), dict(dst=RECORDS - 3)), Edge("range", T, dict(dst=30), dict(dst=31)),
    Edge("range", B, dict(dst=0), dict(dst=1), TABLE), Edge("range", B, dict(count=32), dict(count=33), dict(tables=2)),
    *(Edge("range", o, dict(tap_base=31), dict(tap_base=32)) for o in (C, M)),
    *(Edge("range", o, dict(tap_base=28, taps=4), dict(tap_base=28, taps=5)) for o in (C, M)),
    Edge("range", C, dict(weight_base=31), dict(weight_base=32)),
    Edge("range", C, dict(weight_base=12, taps=4, depth=5), dict(weight_base=13, taps=4, depth=5)),
    Edge("range", C, dict(param_base=RECORDS - 6), dict(param_base=RECORDS - 5)),
    Edge("range", C, dict(table=0), dict(table=1)), Edge("range", C, dict(table=1), dict(table=2), TABLE),
    *(Edge("view", o, {f"{side}_{name}": 3}, {f"{side}_{name}": 4})
      for o, side in ((A, "out"), (S, "out"), (C, "out"), (M, "out"), (C, "res"), (M, "res"))
      for name in (*(f"row_bank{p}" for p in range(4)), "cur_bank0", "cur_bank1", "step_bank")),
    *(Edge("view", o, {f"{side}_{name}": 64}, {f"{side}_{name}": 65})
      for o, side in ((A, "out"), (S, "out"), (C, "out"), (M, "out"), (C, "res"), (M, "res"))
      for name in (*(f"row_addr{p}" for p in range(4)), "cur_addr0", "cur_addr1")),
    *(Edge("view", o, {f"{side}_groups": 1}, {f"{side}_groups": 0})
      for o, side in ((A, "out"), (S, "out"), (C, "out"), (M, "out"), (C, "res"), (M, "res"))),
    # A view that is not used may be anything: of a residual that is not added, of sums that are not complete.
    Edge("view", C, dict(residual=0, res_groups=0), dict(residual=1, res_groups=0)),
    Edge("view", C, dict(acc_last=0, tiles=1, out_groups=0), dict(acc_last=1, tiles=1, out_groups=0)),
    Edge("range", C, dict(acc_last=0, tiles=1, table=1), dict(acc_last=1, tiles=1, table=1)),
    Edge("requantizer", C, dict(acc_last=0, tiles=1, lo=255, hi=0), dict(acc_last=1, tiles=1, lo=255, hi=0)),
    *(Edge("align", o, dict(dram=8), dict(dram=4), TABLE) for o in (L, P, T, B, A, S)),
    *(Edge("align", o, dict(stride=72), dict(stride=68)) for o in (L, A, S)),
    Edge("align", A, dict(dram=32, stride=96), dict(dram=16, stride=96), dict(port_bits=256)),
    Edge("align", A, dict(dram=32, stride=96), dict(dram=32, stride=80), dict(port_bits=256)),
    Edge("coded", L, dict(beats=0), dict(beats=1)), Edge("coded", L, dict(beats=4), dict(beats=5), CODED),
    *(Edge("area", o, dict(rows=1, cols=256, stride=0), dict(rows=1, cols=257, stride=0)) for o in (A, S)),
    *(Edge("area", o, dict(rows=32, cols=4, stride=0, out_groups=2), dict(rows=33, cols=4, stride=0, out_groups=2))
      for o in (A, S)),
    Edge("area", M, dict(rows=16, cols=16), dict(rows=16, cols=17)),
    Edge("area", M, dict(rows=32, cols=4, groups=2), dict(rows=33, cols=4, groups=2)),
    *(Edge("part", C, {name: 0, "tiles": 1}, {name: 0, "tiles": 2}) for name in ("acc_first", "acc_last")),
    *(Edge("residual", C, dict(mem_in=m, mem_res=1 - m), dict(mem_in=m, mem_res=m)) for m in (0, 1)),
    Edge("residual", C, dict(residual=0, mem_res=0), dict(residual=1, mem_res=0)),
    Edge("start", C, dict(start_x=2), dict(start_x=3)),
    Edge("row", C, dict(in_row=0), dict(in_row=1)),
    *(Edge("row", C, dict(in_row=1, tiles=1) | {name: good}, dict(in_row=1, tiles=1) | {name: bad}, ROW)
      for name, good, bad in (("wide", 0, 1), ("acc_first", 1, 0), ("acc_last", 1, 0), ("depth", 1, 2),
                              ("taps", 16, 17))),
    Edge("requantizer", C, dict(shift=63), dict(shift=64)),
    Edge("requantizer", C, dict(lo=9, hi=9), dict(lo=10, hi=9)),
]
EDGES += [Edge("", o, {"dram": SIZE - extent}, {"dram": SIZE - extent + 8}, config, Error.WINDOW) for o, extent,
          config in (
    (L, 64 + 2 * 2 * 8, {}), (P, 64, {}), (T, 32, {}), (B, 256, TABLE), (A, 64 + 24, {}), (S, 64 + 24, {}))]
IMAGE = dict(image=1, bytes=18, step=3, dram=0x401, stride=19)
EDGES += [
    Edge("align", A, IMAGE, IMAGE | dict(image=0)), Edge("image", A, IMAGE, IMAGE | dict(bytes=0)),
    Edge("image", A, IMAGE | dict(above=1, rows=1), IMAGE | dict(above=1, below=1, rows=1)),
    Edge("image", A, IMAGE | dict(pair=1, above=1, below=1, rows=1), IMAGE | dict(above=1, below=1, rows=1),
         dict(ic=16)),
    Edge("image", A, IMAGE, IMAGE | dict(pair=1)),
    # Whole beats, of 8 bytes, from any byte on: of two rows, of the three that a pair and the first of one more are.
    Edge("", A, IMAGE | dict(dram=SIZE - 19 - 18 - 7), IMAGE | dict(dram=SIZE - 19 - 18 - 6), {}, Error.WINDOW),
    Edge("", A, IMAGE | dict(pair=1, below=1, dram=SIZE - 2 * 19 - 18 - 7),
         IMAGE | dict(pair=1, below=1, dram=SIZE - 2 * 19 - 18 - 6), dict(ic=16), Error.WINDOW),
    Edge("", A, IMAGE | dict(rows=1, above=1, dram=SIZE - 18 - 7), IMAGE | dict(rows=1, above=1, dram=SIZE - 18 - 6),
         {}, Error.WINDOW),
    Edge("area", A, IMAGE | dict(rows=1, cols=256), IMAGE | dict(rows=1, cols=257)),
    Edge("", L, dict(beats=3, dram=SIZE - 64 - 24), dict(beats=4, dram=SIZE - 64 - 24), CODED, Error.WINDOW),
    # Records of half a beat end with the beat.
    Edge("", T, dict(count=1, dram=SIZE - 32), dict(count=3, dram=SIZE - 32), dict(port_bits=256), Error.WINDOW),
    Edge("", A, dict(rows=3, dram=SIZE - 128 - 24), dict(rows=4, dram=SIZE - 128 - 24), {}, Error.WINDOW)]
