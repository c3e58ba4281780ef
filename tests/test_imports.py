"""The direction of imports: who may know whom."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"spec", "quant", "compiler", "rtl", "sim", "boards"}
FORBIDDEN = {
    "spec": (PACKAGES - {"spec"}) | {"amaranth", "torch"},
    "quant": {"rtl", "compiler", "boards", "amaranth"},
    "compiler": {"rtl", "quant", "sim", "boards", "amaranth", "torch"},
    "rtl": {"quant", "compiler", "sim", "torch"},
    "driver": (PACKAGES - {"spec"}) | {"amaranth", "torch", "alloy"},
    "boards": {"rtl", "quant", "compiler", "sim", "amaranth", "torch"},
}
# measure the whole flow, so they may know all of it; nothing below may know them
ABOVE = ROOT / "quant" / "bench", ROOT / "compiler" / "explore"
# Rooms of rtl, from the lowest: each with those that it may know. ``top`` are the files beside the rooms.
ROOMS = {
    "prim": set(),
    "bus": {"prim"},
    "memory": {"prim"},
    "control": {"prim", "bus"},
    "move": {"prim"},
    "feed": {"prim"},
    "array": {"prim", "memory"},
    "post": {"prim", "memory"},
    "tools": {"prim", "memory", "move", "array"},
    "system": {"bus", "control"},
    "platforms": set(),
}
ROOMS["top"] = set(ROOMS)
PROGRAMS = {"study": "tools.study"}     # a file beside the rooms -> a file in a room that is its own
PLAIN = ("sim/golden.py", "sim/cycle_model.py", "sim/compare.py", "sim/origin.py", *(
    str(path.relative_to(ROOT)) for path in (ROOT / "sim" / "command_model").glob("*.py")))


def imported(path):
    """Top-level packages that a file imports."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            out.add(node.module.split(".")[0])
    return out


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages(package):
    for path in (ROOT / package).rglob("*.py"):
        if not {*ABOVE} & {*path.parents}:       # an entry point knows the boards by name
            known = {"boards"} if path.name == "__main__.py" else set()
            assert not imported(path) & (FORBIDDEN[package] - known), path


@pytest.mark.parametrize("above", ABOVE, ids=lambda path: path.name)
def test_nothing_below_knows_what_is_above(above):
    name = above.name
    known = re.compile(rf"^from \.+{name}|^from \. import .*{name}|{above.parent.name}\.{name} import", re.M)
    for path in above.parent.rglob("*.py"):
        assert above in path.parents or not known.search(path.read_text()), path


@pytest.mark.parametrize("name", PLAIN)
def test_models_need_no_hardware(name):
    assert not imported(ROOT / name) & {"amaranth", "torch", "rtl"}


def arrows(path):
    """Each import within rtl: its target (``room``, ``room.file``, or ``file`` beside the rooms) and the names
    taken."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name[4:], []) for alias in node.names if alias.name.startswith("rtl."))
        elif isinstance(node, ast.ImportFrom):
            inside = package[:len(package) - node.level + 1] if node.level else ()
            base = (*inside, *(node.module.split(".") if node.module else ()))
            if base[0] == "rtl":
                yield ".".join(base[1:]), [alias.name for alias in node.names]


def test_rooms_have_an_order():
    """No room knows one that is not below it; every folder is in the table."""
    order = list(ROOMS)
    for room, known in ROOMS.items():
        assert known <= set(order[:order.index(room)]), room
    assert {path.name for path in (ROOT / "rtl").iterdir() if any(path.glob("*.py"))} == set(ROOMS) - {"top"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms(room):
    """A file knows the files of its own room, and of the rooms below what their ``__init__`` hands out."""
    folder = ROOT / "rtl" / ("" if room == "top" else room)
    for path in folder.glob("*.py"):
        for target, names in arrows(path):
            first, *inner = target.split(".")
            if first == room or room == "top" and first not in ROOMS:
                assert len(inner) == (room != "top"), (path, target)
            else:
                assert first in ROOMS[room], (path, target)
                direct = PROGRAMS.get(path.stem) == target
                assert not inner or direct, f"{path}: take {names} from {first}, not from {target}"
                assert inner or set(names) <= set(handed_out(first)), (path, names)


def handed_out(room):
    """``__all__`` of a room."""
    tree = ast.parse((ROOT / "rtl" / room / "__init__.py").read_text())
    return next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))


@pytest.mark.parametrize("room", ROOMS)
def test_files_of_a_room_have_an_order(room):
    folder = ROOT / "rtl" / ("" if room == "top" else room)
    prefix = "" if room == "top" else room + "."
    known = {prefix + path.stem: {target for target, _ in arrows(path)} for path in folder.glob("*.py")}
    assert list(TopologicalSorter(known).static_order())        # or graphlib.CycleError


def diagram():
    """Each room of rtl, and each file beside the rooms, with those that it knows."""
    known = {}
    for path in (ROOT / "rtl").rglob("*.py"):
        block = path.relative_to(ROOT / "rtl").with_suffix("").parts[0]
        known.setdefault(block, set()).update(target.split(".")[0] for target, _ in arrows(path))
    return {block: others - {block} for block, others in known.items()}


def test_diagram_stays_small():
    """Kind: rooms in name only. The block diagram has at most 40 arrows on 7 floors."""
    known, floors = diagram(), {}
    for block in TopologicalSorter(known).static_order():
        floors[block] = 1 + max((floors[other] for other in known[block]), default=0)
    assert sum(map(len, known.values())) <= 40 and max(floors.values()) <= 7, (known, floors)


@pytest.mark.parametrize("module, without", [("alloy.check.__main__", "scipy onnx"), ("quant.tflite", "onnx")])
def test_what_takes_long_comes_when_it_is_needed(module, without):
    """``alloy check`` answers at once, and TFLite files need nothing of ONNX."""
    code = f"import sys, {module}; print(*sorted({{*{without.split()}}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
