"""Which commands an engine takes: the rule by which ``rtl/control/check.py`` and the command model refuse."""

from .commands import MAGIC, PARAM_BYTES, TABLE_RECORDS, VERSION, Error, Opcode
from .config import EngineConfig
from .images import image_rows
from .kwords import beats_of
from .rows import ROW_STEPS
from .views import ADDRESSES, BANKS

__all__ = ["RULES", "refuse"]

# What FIELD stands for; the page docs/commands.md is generated from it.
RULES = {
    "count": "`count`, `rows`, `cols`, `groups`, `taps`, `depth`, `tiles` or `pitch` is 0",
    "range": "k-words, records, taps or tables that the configuration does not have",
    "view": "a view with banks that do not exist or an address behind the memory, or one without groups",
    "align": "a DRAM address or stride that is no multiple of the port width, but of an image",
    "image": "an image without `bytes`, one row both `above` and `below`, or a `pair` where one port alone brings rows",
    "coded": "coded weights that nothing decodes, or that are longer than plain ones",
    "area": "a region of LOAD_ACT, POOL or STORE_ACT with more pixels times groups than an activation memory has words",
    "part": "sums in parts (`acc_first` or `acc_last` is 0) of more than one tile",
    "residual": "a residual in the memory of the input: each would wait for the other",
    "start": "a first pixel beyond the `pitch`",
    "row": "`in_row` in an engine without it, or of codes of two digits, sums in parts, more than one channel group "
           f"or more than {ROW_STEPS} taps",
    "requantizer": "`shift` above 63, or `lo` above `hi`",
}
RECORDS = {Opcode.LOAD_WEIGHTS: lambda c: c.weight_depth, Opcode.LOAD_PARAMS: lambda c: c.param_depth * c.slots,
           Opcode.LOAD_TAPS: lambda c: c.tap_depth, Opcode.LOAD_TABLES: lambda c: c.tables * TABLE_RECORDS}
ACTS = (Opcode.LOAD_ACT, Opcode.STORE_ACT)


def refuse(command: dict, config: EngineConfig, size: int, first: bool = False) -> tuple[Error, str] | None:
    """(:class:`Error`, rule) for a command that the engine stops at, None for one that it takes.

    Parameters
    ----------
    command : all fields by name (:func:`spec.commands.unpack_record`). size : bytes of the DRAM window.
    first : whether it is the first one of a program. The rule is a key of :data:`RULES`, or "" for the other errors.
    """
    opcode, known = command["opcode"], command["magic"] == MAGIC
    if first:
        right = opcode == Opcode.START and command["digest"] == config.digest_word and command["version"] == VERSION
        return None if known and right else (Error.PROGRAM, "")
    if not known or opcode == Opcode.START or opcode not in list(Opcode):
        return Error.OPCODE, ""
    for rule, broken in _fields(Opcode(opcode), command, config):
        if broken:
            return Error.FIELD, rule
    if opcode in (*RECORDS, *ACTS) and command["dram"] + _extent(Opcode(opcode), command, config) > size:
        return Error.WINDOW, ""
    return None


def _fields(opcode, f, c):
    """(rule, whether it is broken) of what an opcode is checked for."""
    acts, pool, conv = opcode in ACTS, opcode == Opcode.POOL, opcode == Opcode.CONV
    image = opcode == Opcode.LOAD_ACT and f["image"]
    if opcode in RECORDS:
        yield "count", f["count"] == 0
        yield "range", f["dst"] + f["count"] > RECORDS[opcode](c)
    if opcode in RECORDS or acts and not image:
        yield "align", f["dram"] % c.port_bytes
    if opcode == Opcode.LOAD_WEIGHTS or acts and not image:
        yield "align", f["stride"] % c.port_bytes
    if opcode == Opcode.LOAD_WEIGHTS:
        yield "coded", f["beats"] > (f["count"] * c.weight_beats if c.decode_lanes else 0)
    if acts or pool or conv:
        yield "count", f["rows"] == 0 or f["cols"] == 0
    if acts or pool:
        yield "view", _view("out", f, c)
        yield "area", f["rows"] * f["cols"] * f["groups" if pool else "out_groups"] > c.pixels * c.act_depth
    if image:
        yield "image", f["bytes"] == 0 or image_rows(f) < 0 or f["pair"] and c.image_lanes == 1
    if pool:
        yield "view", _view("res", f, c)
    if pool or conv:
        yield "count", f["taps"] == 0 or f["groups"] == 0
        yield "range", f["tap_base"] + f["taps"] > c.tap_depth
    if conv:
        yield "count", f["depth"] == 0 or f["tiles"] == 0 or f["pitch"] == 0
        yield "range", f["weight_base"] + (1 if f["shared"] else f["taps"]) * f["depth"] > c.weight_depth
        yield "residual", f["residual"] and f["mem_res"] == f["mem_in"]
        yield "part", not (f["acc_first"] and f["acc_last"]) and f["tiles"] != 1
        yield "start", f["start_x"] >= f["pitch"]
        yield "row", f["in_row"] and (
            c.row_taps == 1 or f["wide"] or not (f["acc_first"] and f["acc_last"]) or f["depth"] != 1
            or f["taps"] > ROW_STEPS)
    if conv and f["acc_last"]:      # sums of a part have no output yet
        yield "view", _view("out", f, c) or f["residual"] and _view("res", f, c)
        yield "range", f["param_base"] + c.slots > c.param_depth * c.slots or f["table"] > c.tables
        yield "requantizer", f["shift"] > 63 or f["lo"] > f["hi"]


def _view(prefix, f, c):
    """Whether a view has banks or addresses that do not exist; one address past the end is a row not visited."""
    banks = *BANKS, "step_bank"
    return (f[f"{prefix}_groups"] == 0 or any(f[f"{prefix}_{n}"] >= c.pixels for n in banks)
            or any(f[f"{prefix}_{n}"] > c.act_depth for n in ADDRESSES))


def _extent(opcode, f, c):
    """Bytes from the first to the last of the DRAM region."""
    if opcode == Opcode.LOAD_WEIGHTS:
        return f["stride"] * (c.ports - 1) + beats_of(f, c) * c.port_bytes
    if opcode in RECORDS:
        return -(-f["count"] * PARAM_BYTES // c.port_bytes) * c.port_bytes
    if opcode == Opcode.LOAD_ACT and f["image"]:        # whole beats, wherever a row begins
        return max(image_rows(f) - 1, 0) * f["stride"] + f["bytes"] + c.port_bytes - 1
    return (f["rows"] - 1) * f["stride"] + f["out_groups"] * f["cols"] * c.act_group_bytes
