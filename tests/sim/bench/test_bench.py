"""The table of speeds: rows one by one, stale ones, the page, the picture and the README, and what is shipped."""

from dataclasses import replace
import json

import numpy as np
import pytest
from torch import nn

import boards
from quant.bench import data
from sim.bench import __main__ as bench, networks
from sim.bench.__main__ import main
from sim.bench.networks import NETWORKS, Benchmark, graph
from sim.bench.page import BEGIN, END, extract, markdown, shown, stale
from sim.bench.peers import PEERS, best
from sim.cycle_model import CAUSES
from tests.compiler.graphs import layer, network
from tests.networks import random_config, random_network
from tests.sim.verilator.test_engines import CONFIGS
from tests.verilated import shared_cache

KEYS = {"board", "network", "weights", "source", "tuned", "clock_mhz", "cycles", "fps", "utilisation", "losses", "lut",
        "ff", "dsp", "bram36", "digest", "date"}
SHIPPED = bench.ROOT / "docs" / "results"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A place for rows below a README with marks; the networks have no weights beside the repository."""
    monkeypatch.setattr(data, "SHARED", tmp_path / "nothing")
    (tmp_path / "README.md").write_text(f"# Words\n{BEGIN}old\n{END}more\n")
    return tmp_path / "docs" / "results"


def rows_of(folder):
    return json.loads((folder / "speed.json").read_text())["rows"]


def made(monkeypatch):
    """Jobs for which a row is made from now on; the rows are those that would be made."""
    jobs, real = [], bench._made
    monkeypatch.setattr(bench, "_made", lambda job, *more: jobs.append(job) or real(job, *more))
    return jobs


def test_a_network_that_an_engine_cannot_run_has_no_row(folder, monkeypatch, capsys):
    """Kind: one row that fails, and none behind it. The others are made, and a row of before goes."""
    words = ["--only", "pynq-z2:resnet8,ds_cnn:model", "--out", str(folder)]
    assert main(words) == 0 and [row["network"] for row in rows_of(folder)] == ["resnet8", "ds_cnn"]
    board = boards.get("pynq-z2")
    monkeypatch.setitem(boards.BOARDS, "pynq-z2", replace(board, config=replace(board.config, act_depth=32)))
    assert main(words) == 1 and [row["network"] for row in rows_of(folder)] == []
    assert "no row of pynq-z2 resnet8 model: layer" in capsys.readouterr().out
    assert main(["--only", "pynq-z2:resnet8:model", "--out", str(folder)]) == 2
    assert "raise act_depth" in capsys.readouterr().err


def test_rows_one_by_one(folder, monkeypatch, capsys):
    """A row is made once; it is made again with --again, and when the board has another engine."""
    jobs, words = made(monkeypatch), ["--only", "pynq-z2:ds_cnn,resnet8:model", "--out", str(folder)]
    assert main([*words[:1], "pynq-z2:ds_cnn:model", *words[2:]]) == 0 and len(jobs) == 1
    row, = rows_of(folder)
    assert KEYS <= row.keys() and not row["tuned"] and row["weights"] == "seeded" and set(row["losses"]) == set(CAUSES)
    assert sum(row["losses"].values()) == pytest.approx(1, abs=0.001)
    assert row["fps"] == pytest.approx(1e8 / row["cycles"], abs=0.1) and 0 < row["utilisation"] < 1
    assert main(words) == 0 and jobs[1:] == [("pynq-z2", "resnet8", "model")]
    assert main(words) == 0 and len(jobs) == 2 and "--again makes it again" in capsys.readouterr().out
    assert main([*words, "--again"]) == 0 and len(jobs) == 4
    assert [row["network"] for row in rows_of(folder)] == ["resnet8", "ds_cnn"]
    page = (folder / "speed.md").read_text()
    assert page.count("| ds_cnn | seeded | model |") == 1 and "*stale*" not in page.split("## pynq")[1]

    board = boards.get("pynq-z2")
    monkeypatch.setitem(boards.BOARDS, "pynq-z2", replace(board, config=replace(board.config, act_depth=1024)))
    assert all(map(stale, rows_of(folder)))
    assert main(["--board", "zcu102", "--network", "ds_cnn", "--source", "model", "--out", str(folder)]) == 0
    page, readme = (folder / "speed.md").read_text(), (folder.parents[1] / "README.md").read_text()
    assert page.count("*stale* |") == 2 == readme.count("*stale* |")
    del jobs[:]
    assert main([*words[:1], "pynq-z2:ds_cnn:model", *words[2:]]) == 0 and jobs == [("pynq-z2", "ds_cnn", "model")]
    assert [stale(row) for row in rows_of(folder)] == [False, True, False]
    assert readme.startswith(f"# Words\n{BEGIN}| board") and readme.endswith(f"|\n{END}more\n")


def test_tuned(folder, tmp_path):
    """Another engine makes rows that say so, beside the board's own; they are never stale and not in the README."""
    config = replace(boards.get("pynq-z2").config, dsp_filters=4)
    (tmp_path / "tuned.json").write_text(json.dumps(config.to_dict()))
    words = ["--only", "pynq-z2:ds_cnn:model", "--out", str(folder)]
    assert main(words) == 0 and main([*words, "--config", str(tmp_path / "tuned.json")]) == 0
    own, tuned = rows_of(folder)
    assert [own["tuned"], tuned["tuned"]] == [False, True] and tuned["digest"] == config.digest and not stale(tuned)
    assert own["cycles"] < tuned["cycles"] and own["dsp"] > tuned["dsp"]
    assert f"{tuned['cycles']:,}" not in shown([own, tuned]) and f"{own['cycles']:,}" in shown([own, tuned])


def small(monkeypatch, tmp_path, tmp_path_factory):
    """A small network in the place of ResNet-8, and a small engine: the words that choose them."""
    config = random_config(np.random.default_rng(1), **CONFIGS["portable"])
    (tmp_path / "small.json").write_text(json.dumps(config.to_dict()))
    monkeypatch.setitem(networks.NETWORKS, "resnet8", Benchmark("small", lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)), (2, 6, 5)))
    return ["--board", "pynq-z2", "--network", "resnet8", "--source", "rtl", "--config", str(tmp_path / "small.json"),
            "--cache", str(shared_cache(tmp_path_factory)), "--kept", str(tmp_path / "kept")]


def test_simulated(folder, monkeypatch, tmp_path, tmp_path_factory):
    """A row of the RTL is of a calibrated network whose every tensor was compared; the network is kept."""
    words = [*small(monkeypatch, tmp_path, tmp_path_factory), "--out", str(folder)]
    assert main(words) == 0
    row, = rows_of(folder)
    assert row["source"] == "rtl" and row["tensors"] == 2 and row["tuned"] and row["resources"] == "model"
    assert row["cycles"] > row["model_cycles"] > 0 and row["weights"] == "seeded"
    monkeypatch.setattr(networks, "quantize", None)
    assert main([*words, "--again"]) == 0 and rows_of(folder)[0]["cycles"] == row["cycles"]


def test_a_difference_makes_no_row(folder, monkeypatch, tmp_path, tmp_path_factory, capsys):
    from sim.bench import rows
    words = [*small(monkeypatch, tmp_path, tmp_path_factory), "--out", str(folder)]
    real = rows.run_network
    monkeypatch.setattr(rows, "run_network", lambda *args, **more: real(*args, **more) | {"difference": "image 0: x"})
    assert main(words) == 2 and "is not bit-exact, so there is no row: image 0: x" in capsys.readouterr().err
    assert not (folder / "speed.json").exists()


@pytest.mark.parametrize("words, said", [
    (["--board", "zcu999"], "has no board 'zcu999': choose zcu102"),
    (["--only", ":vgg99"], "has no network 'vgg99': choose resnet18"),
    (["--source", "board"], "has no source 'board': choose model, rtl"),
    (["--file", "net.npz", "--source", "model"], "is one network and 36 rows are asked for"),
    (["--only", "::", "--out", "{bad}"], "has no rows of this bench"),
    (["--only", "pynq-z2:ds_cnn:rtl", "--file", "{net}"], "takes images of 3 x"),
    (["--only", "pynq-z2:ds_cnn:model", "--file", "{net}"], "takes images of 3 x")])
def test_refused(folder, tmp_path, capsys, words, said):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "speed.json").write_text('{"rows": [{"board": "zcu102"}]}')
    network = random_network(np.random.default_rng(4))
    network.save(tmp_path / "net.npz")
    said = said.replace("3 x", str(network.tensors["image"].channels) + " x")
    words = [word.format(bad=tmp_path / "bad", net=tmp_path / "net.npz") for word in words]
    assert main([*words, *([] if "--out" in words else ["--out", str(folder)])]) == 2
    assert said in capsys.readouterr().err and not (folder / "speed.json").exists()


def test_file_of_a_model_row(folder, tmp_path):
    """An integer network in the place of the sketch."""
    net = network({"image": (3, 32, 32), "out": (5, 32, 32)}, layer("image", "out", 5, 3, (3, 3), padding=(1, 1)))
    net.save(tmp_path / "net.npz")
    assert main(["--only", "pynq-z2:resnet8:model", "--file", str(tmp_path / "net.npz"), "--out", str(folder)]) == 0
    row, = rows_of(folder)
    assert row["weights"] == "trained" and row["cycles"] < 100_000


def test_synthesis_is_shown(folder, tmp_path):
    """Resources are those of a build of the same configuration, if there is one."""
    words = ["--only", "pynq-z2:ds_cnn:model", "--out", str(folder), "--builds", str(tmp_path), "--again"]
    report = {"digest": boards.get("pynq-z2").config.digest,
              "resources": {"lut": 7, "ff": 8, "dsp": 9, "bram36": 10.5, "uram": 0}}
    (tmp_path / "pynq-z2").mkdir()
    for change, source in (({}, "synthesis"), ({"digest": "0" * 8}, "model"), ({"resources": None}, "model")):
        (tmp_path / "pynq-z2" / "report.json").write_text(json.dumps(report | change))
        assert main(words) == 0 and rows_of(folder)[0]["resources"] == source
    assert rows_of(folder)[0]["lut"] > 10_000 and "| ~" in (folder / "speed.md").read_text()


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "mobilenet_v1_025"])
def test_networks(name, folder):
    """The shapes of MLPerf Tiny: multiply-accumulates as published."""
    found, weights = graph(name)
    network = networks.sketched(found, boards.get("pynq-z2").config)
    macs = sum(node.macs(network) for node in network.nodes)
    published = {"resnet8": 12.50e6, "ds_cnn": 2.66e6, "mobilenet_v1_025": 7.49e6}
    assert macs == pytest.approx(published[name], rel=0.01) and weights == "seeded"


def test_peers():
    assert best("zcu102", "resnet18", "one").system == "FILM-QNN" and best("zcu102", "resnet18", "many").many == 499.6
    assert best("zu15eg", "resnet18", "one") is None
    for peer in PEERS:
        assert peer.board in boards.BOARDS and peer.network in NETWORKS and (peer.one or peer.many) and peer.source


def test_the_readme_shows_what_was_measured():
    """Kind: a page, a picture or a README of other rows than those of speed.json."""
    table = json.loads((SHIPPED / "speed.json").read_text())
    rows, quant = table["rows"], json.loads((SHIPPED / "quant.json").read_text())
    assert (SHIPPED / "speed.md").read_text() == markdown(rows, quant)
    readme = (bench.ROOT / "README.md").read_text()
    assert extract(readme, shown(rows)) == readme
    assert table["peers"] == [vars(peer) for peer in PEERS] and (SHIPPED / "speed.svg").read_text().startswith("<?xml")
