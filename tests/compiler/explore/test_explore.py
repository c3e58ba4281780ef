"""The search of engines: all fit, the fastest are found, what binds is named, and the default is compared with."""

from collections import defaultdict
from dataclasses import replace
from itertools import islice
import json

import numpy as np
import pytest

import boards
from boards.board import LIMITS
from boards.resources import multipliers, resources
from compiler.explore import __main__ as explore, search as searching
from compiler.explore.__main__ import main
from compiler.explore.bound import Shapes, bound
from compiler.explore.search import Found, pareto, search
from compiler.explore.space import DEPTHS, engines, fits, shares, stops
from quant.bench import data
from sim.bench.networks import graph, sketched
from spec.errors import AlloyError

BOARD = boards.get("pynq-z2")


@pytest.fixture(scope="module")
def space():
    return list(engines(BOARD))


def test_engines_fit(space):
    """Every engine is legal and fits; many fill the LUTs, the multipliers or the memories."""
    assert len(space) > 500 and len({config.digest for config, _ in space}) == len(space)
    for config, share in space[::97]:
        used = resources(config, BOARD.family)
        assert share == {name: pytest.approx(used[name] / (LIMITS[name] * BOARD.budget[name])) for name in LIMITS
                         if BOARD.budget[name]} | {"uram": 0}
        assert fits(config, BOARD) and config.ports == BOARD.config.ports
    for name in ("lut", "dsp", "bram36"):
        assert sum(share[name] > 0.9 for _, share in space) > 20, name
    assert {config.lut_filters == 0 for config, _ in space} == {True, False}


def test_shares_of_the_multipliers(space):
    """For each array as many DSP filters as there are multipliers for, one pair less, three quarters, half and a
    quarter of them; those that are left out do not fit."""
    most, found = LIMITS["dsp"] * BOARD.budget["dsp"], defaultdict(set)
    for config, _ in space:
        found[config.ic, config.pixels, config.out_pixels].add(config.dsp_filters)
    assert len(found) > 20 and {0, 2} in found.values()
    for (ic, pixels, out), some in found.items():
        base = replace(BOARD.config, ic=ic, pixels=pixels, out_pixels=out, row_taps=1, act_depth=DEPTHS[0],
                       weight_depth=256, lut_filters=0)
        full = max(n for n in range(0, 129, 2) if not n or multipliers(replace(base, dsp_filters=n)) <= most)
        wanted = {full, max(full - 2, 0), *(int(full * share) // 2 * 2 for share in (0.75, 0.5, 0.25))}
        assert some <= wanted
        for n in wanted - some:
            assert not fits(replace(base, dsp_filters=n, lut_filters=int(not n)), BOARD), (ic, pixels, out, n)


def test_ultra_ram():
    """Where the part has ultra RAM the activation memories are made of it."""
    kv260 = boards.get("kv260")
    one = next(engines(kv260))[0]
    assert one.act_ram == "ultra" and shares(one, kv260)["uram"] > 0
    assert shares(replace(BOARD.config, act_ram="ultra"), BOARD)["uram"] > 1


def found(name, rate, lut, dsp=0.5):
    return Found(replace(BOARD.config, name=name), {"lut": lut, "dsp": dsp}, {"a": rate, "b": 4 * rate}, {})


def test_pareto():
    ones = [found("slow and small", 10, 0.2), found("fast", 30, 0.8), found("worse", 20, 0.8),
            found("as good", 30, 0.9), found("fewer multipliers", 20, 0.9, 0.1)]
    assert [one.config.name for one in pareto(ones)] == ["fast", "fewer multipliers", "slow and small"]
    assert ones[0].rate == pytest.approx(20)


def test_bound():
    """Below what the cycle model says for the boards, and not by much; more pixels, filters and bytes are no slower."""
    network = sketched(graph("resnet8")[0], BOARD.config)
    shapes, rate = Shapes.of(network), BOARD.memory(BOARD.config)["all_bytes_per_cycle"]
    cycles = bound(shapes, BOARD.config, rate)
    assert 10_000 < cycles < 40_000
    for more in ({"pixels": 8}, {"dsp_filters": 12}, {"out_pixels": 2}, {"act_depth": 4096}):
        assert bound(shapes, replace(BOARD.config, row_taps=1, **more), 1e9) <= bound(shapes, BOARD.config, 1e9)
    assert bound(shapes, BOARD.config, rate / 8) > cycles
    assert bound(shapes, replace(BOARD.config, act_depth=8), rate) > cycles


class Pool:
    """Jobs are done at once, in this process."""

    def __init__(self, count, context, begin, arguments):
        begin(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        searching._graphs.clear()

    def submit(self, function, *arguments):
        job = searching.Future()
        job.set_result(function(*arguments))
        return job


@pytest.fixture
def here(monkeypatch, tmp_path, space):
    """The search in this process, of few engines; a network without weights beside the repository."""
    monkeypatch.setattr(data, "SHARED", tmp_path / "nothing")
    monkeypatch.setattr(searching, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(explore, "engines", lambda board: iter(
        space[::20] if board is BOARD else islice(engines(board), 40)))


def test_search(here, capsys, tmp_path):
    """The table has the fastest first and the default; the JSON has the winner."""
    out = tmp_path / "found.json"
    assert main(["--platform", "pynq-z2", "--network", "ds_cnn", "--network", "resnet8", "--seconds", "8", "--json",
                 str(out)]) == 0
    text, result = capsys.readouterr().out, json.loads(out.read_text())
    rates = [np.prod(list(one["fps"].values())) for one in result["pareto"]]
    assert rates == sorted(rates, reverse=True) and result["measured"] >= 1
    assert set(result["winner"]["fps"]) == {"ds_cnn", "resnet8"} and text.count("the default") >= 2
    assert "binding: " in text and "one more LUT filter: " in text and "ds_cnn: multiplications" in text
    wins = "the default of pynq-z2 is the winner" in text
    assert wins == result["default_wins"] and wins != ("faster than the default of pynq-z2" in text)


def test_a_part(here, capsys, tmp_path):
    """No default to compare with: the fastest is proposed, and written as a board that can be built."""
    out, result = tmp_path / "mine.py", tmp_path / "found.json"
    assert main(["--part", "xc7a100tcsg324-1", "--network", "ds_cnn", "--seconds", "1", "--clock", "80", "--out",
                 str(out), "--json", str(result)]) == 0
    text, result = capsys.readouterr().out, json.loads(result.read_text())
    assert "proposed for xc7a100tcsg324-1, 80 MHz, 1.3 GB/s of DRAM:" in text and "the default" not in text
    board = boards.get(str(out))
    assert {**board.config.to_dict(), "name": "explored"} == result["winner"]["config"] and fits(board.config, board)


@pytest.mark.parametrize("words, said", [
    ([], "a board is needed: give --platform or --part, one of them"),
    (["--part", "xc7a100t", "--platform", "zcu102"], "give --platform or --part, one of them"),
    (["--platform", "zcu102", "--clock", "80"], "--clock 80 is of a part: give --part"),
    (["--platform", "zcu102", "--out", "b.py"], "--out b.py is of a part: give --part"),
    (["--part", "xc7a100t", "--out", "b.json"], "b.json is no file of Python: give --out a name that ends with .py"),
    (["--part", "xc7a999t"], "there is no part 'xc7a999t' among those that are known")])
def test_options_of_parts(capsys, words, said):
    assert main([*words, "--network", "ds_cnn"]) == 2 and said in capsys.readouterr().err


def test_the_best_is_found(here, monkeypatch):
    """Kind: an order that measures what is slow first. Among engines of which one is plainly better that one is found
    at once; those that cannot run the network are left out."""
    small = replace(BOARD.config, dsp_filters=2, lut_filters=1, name="small")
    tight = replace(BOARD.config, weight_depth=4, tap_depth=4, name="tight")
    large = replace(BOARD.config, pixels=8, name="large")
    some = [(config, {"lut": 0.5}) for config in (small, tight, large)]
    own, done, looked = search(BOARD, ["resnet8"], some, 1000, lambda text: None)
    assert looked == 3 and own.config == BOARD.config and own in done
    assert max(done, key=lambda one: one.rate).config == large
    own, done, _ = search(BOARD, ["resnet8"], some, 0, lambda text: None)
    assert done == [own]


def test_stops():
    """What a larger engine would need, or why there is none."""
    lines = stops(BOARD.config, BOARD)
    assert "two more DSP filters: 107% of the dsp that may be used" in lines
    assert any(line.startswith("twice the pixels behind the array: ") for line in lines)
    assert any("must be 1 or an even number whose square divides pixels" in line
               for line in stops(replace(BOARD.config, out_pixels=2), BOARD))
    assert "one more LUT filter: fits" in stops(replace(BOARD.config, lut_filters=1), BOARD)


def test_refused(here, capsys, monkeypatch):
    for words, said in ((["--platform", "zcu999", "--network", "ds_cnn"], "there is no platform 'zcu999'"),
                        (["--platform", "pynq-z2", "--network", "vgg99"], "no network 'vgg99' to explore: choose")):
        assert main(words) == 2 and said in capsys.readouterr().err
    monkeypatch.setattr(searching, "_measure", lambda name, config: "it is too large")
    with pytest.raises(AlloyError, match="cannot run the networks, so there is nothing to compare with: it is too"):
        search(BOARD, ["ds_cnn"], [], 1, lambda text: None)
    for some, text in (([], "there is none, take a larger part"), ([(BOARD.config, {"lut": 0.5})], "it is too large")):
        with pytest.raises(AlloyError, match=f"no engine that fits pynq-z2 runs the networks: {text}"):
            search(BOARD, ["ds_cnn"], some, 1, lambda text: None, compare=False)
