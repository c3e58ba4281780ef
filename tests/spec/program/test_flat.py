"""The flat file, the header and the hexadecimal text: what ``docs/program.md`` says is enough to run a program."""

from dataclasses import replace
import re
import subprocess

import numpy as np
import pytest

from compiler import compile
from sim.command_model import CommandModel
from spec.commands import Opcode, unpack
from spec.errors import AlloyError
from spec.program import FORMS, Program, banks
from tests.compiler.graphs import CONFIG, engine, layer, network
from tests.networks import random_config, random_network

from .documented import File

NAMES = ("cat", "dog", "Bär", "a b", "x", "y")
STRIDED = network({"image": (3, 7, 9), "out": (6, 4, 5)},
                 layer("image", "out", 6, 3, (3, 3), stride=(2, 2), padding=(1, 1)), bits=8, image=9)


def scaled(net):
    """The network with scales of its image and its output."""
    known = {name: replace(net.tensors[name], scale=scale) for name, scale in ((net.input, 1 / 255), (net.output, 0.3))}
    return replace(net, tensors=net.tensors | known)


@pytest.fixture(scope="module")
def program():
    return compile(scaled(STRIDED), engine(ic=32), classes=NAMES, keep="all")


def run(program, config, file, bank, image):
    """Outputs by name, from the file alone: the engine sees a window and is told where its commands are."""
    offset = "offset_2" if bank else "offset"
    window = file.window(bank)
    model = CommandModel(replace(program, image=bytes(window), window_size=len(window),
                                 command_offset=file.h[f"command_{offset}"]), config)
    memory, source = model.memories, file.t[0]
    memory.bytes(source[offset], source["bytes"])[:] = np.frombuffer(file.input(image), np.uint8)
    model.execute(bank)
    return {file.name(t): file.output(t, memory.bytes(t[offset], t["bytes"]).astype(np.uint8).tobytes())
            for t in file.t[1:]}


@pytest.mark.parametrize("seed", range(12))
def test_the_page_is_enough(seed):
    """Random networks on random engines, both banks: every kept tensor is that of the golden model."""
    rng = np.random.default_rng(seed)
    net, config = random_network(rng), random_config(rng)
    compiled = compile(net, config, keep="all" if seed % 2 else ())
    file = File(FORMS["bin"](compiled, "p"))
    images = rng.integers(0, 256, (2, *net.tensors["image"].shape))
    expected = net.codes(images)
    for bank, codes in enumerate(images):
        found = run(compiled, config, file, bank, codes.transpose(1, 2, 0))
        assert list(found)[0] == net.output and set(found) == set(compiled.outputs)
        for name, got in found.items():
            assert (got == expected[name][bank]).all(), (bank, name)


@pytest.mark.parametrize("gaps", [{}, dict(pixel_bytes=4), dict(pixel_bytes=5, row_bytes=64)])
def test_images_as_they_are(gaps):
    """Rows of pixels, with gaps or without; the network has a zero point and a border."""
    compiled = compile(STRIDED, engine(ic=32), **gaps)
    rng, file = np.random.default_rng(3), File(FORMS["bin"](compiled, "p"))
    codes = rng.integers(0, 256, (3, 7, 9))
    assert file.input(codes.transpose(1, 2, 0)) == compiled.pack_input(codes)
    expected = STRIDED.codes(codes[None])["out"][0]
    assert (run(compiled, engine(ic=32), file, 1, codes.transpose(1, 2, 0))["out"] == expected).all()


def test_channels_of_the_output_are_in_their_order(program):
    file = File(FORMS["bin"](program, "p"))
    assert list(file.order(file.t[1])) == list(range(6)) == list(program.outputs["out"].order)


def test_facts(program):
    file = File(FORMS["bin"](program, "p"))
    source, out = file.t[:2]
    assert file.classes == list(NAMES) and file.name(source) == "image" and file.name(out) == "out"
    assert (source["scale"], source["zero"], source["bits"]) == (1 / 255, 9, 8)
    assert (out["scale"], out["bits"]) == (0.3, 8)
    assert f"{file.h['digest']:08x}" == program.digest and file.h["version"] == program.start["version"]
    assert all(at % 64 == 0 for at in (*(t[k] for t in file.t for k in ("name_at", "order_at")),
                                       *(file.h[k] for k in ("image_at", "commands_at", "tensors_at", "classes_at"))))


def test_banks_share_nothing_that_moves():
    """The second bank's commands differ in the addresses of image and outputs alone; what spills is shared."""
    rng = np.random.default_rng(4)
    compiled = compile(random_network(rng, layers=6), random_config(rng), keep="all")
    first, second = banks(compiled)
    places = {name: (r.offset, r.size) for name, r in compiled.outputs.items()} | {
        "": (compiled.input.offset, compiled.input.size)}
    moved = {**second.outputs, "": second.input}
    for a, b in zip(compiled.commands, np.frombuffer(second.commands, np.uint8).reshape(-1, 128), strict=True):
        a, b = unpack(a), unpack(b.tobytes())
        for name, (at, size) in places.items():
            if a["opcode"] in (Opcode.LOAD_ACT, Opcode.STORE_ACT) and at <= a["dram"] < at + size:
                a = a | {"dram": a["dram"] - at + moved[name]}
                break
        assert a == b
    taken = sorted([(0, first.end), (second.command_offset, second.command_offset + len(second.commands)),
                    *((moved[name], moved[name] + size) for name, (_, size) in places.items())])
    assert all(end <= start for (_, end), (start, _) in zip(taken, taken[1:], strict=False))
    assert taken[-1][1] <= second.end and not any(start % 4096 for start, _ in taken)


def test_two_banks_that_no_window_holds(program):
    with pytest.raises(AlloyError, match="needs 4,.* bytes for two images at once .* keep fewer tensors"):
        FORMS["bin"](replace(program, window_size=(1 << 32) - 4096), "p")


def test_header_compiles_and_says_the_same(program, tmp_path):
    (tmp_path / "h.h").write_bytes(FORMS["h"](program, "my-net 2"))
    (tmp_path / "t.c").write_text('#include "h.h"\n#include <stdio.h>\nint main(void) { printf("%u %u %.17g %u", '
                                  'MY_NET_2_DIGEST, MY_NET_2_WINDOW_BYTES_2, MY_NET_2_OUTPUT_SCALE, MY_NET_2_CLASSES); '
                                  'return 0; }\n')
    subprocess.run(["cc", "-std=c99", "-pedantic", "-Wall", "-Werror", "t.c", "-o", "t"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "t"], capture_output=True, text=True, check=True).stdout.split()
    file = File(FORMS["bin"](program, "p"))
    assert said == [str(file.h["digest"]), str(file.h["window_bytes_2"]), f"{0.3:.17g}", "6"]
    assert re.search(rf"FILE_BYTES {len(file.data)}u", (tmp_path / "h.h").read_text())
    with pytest.raises(AlloyError, match="'7net' is no beginning of names in C"):
        FORMS["h"](program, "7net")


def test_hexadecimal(program):
    words = FORMS["hex"](program, "p").decode().split()
    data = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    assert data[:len(program.image)] == program.image and len(data) - len(program.image) < 4


@pytest.mark.parametrize("names, words", [
    (("a", "b"), "2 names of classes are given and the output has 6 channels: give one for each"),
    (("a", "b", "c", "d", "e", ""), "no list of printable words"), ((1,) * 6, "no list of printable words")])
def test_names_that_do_not_fit(names, words, monkeypatch):
    """They are refused before the work."""
    monkeypatch.setattr("compiler.build.lowered", lambda *a: pytest.fail("compiled in vain"))
    with pytest.raises(AlloyError, match=words):
        compile(STRIDED, CONFIG, classes=names)


def test_codes_of_more_bits_than_the_network_reads():
    """They would be cut in silence."""
    compiled = compile(network({"image": (3, 4, 5), "out": (6, 4, 5)}, layer("image", "out", 6, 3)), CONFIG)
    compiled.pack_input(np.full((3, 4, 5), 15))
    with pytest.raises(AlloyError, match="has the code 16 and the program reads codes of 4 bits, 0 to 15"):
        compiled.pack_input(np.full((3, 4, 5), 16))


def test_the_file_keeps_all(program, tmp_path):
    program.save(tmp_path / "p.alloy")
    found = Program.load(tmp_path / "p.alloy")
    assert vars(found) == vars(program) and found.classes == NAMES and found.tensors["image"].scale == 1 / 255
