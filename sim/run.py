"""``python -m sim.run``: a network, or one layer, on the Verilated engine of a board; compared bit for bit and
counted."""

from collections.abc import Callable, Iterable, Mapping
import sys
from typing import Annotated

import numpy as np
from typer import Option

import boards
from compiler import compile
from examples import paths
from rtl.generate import generate
from spec.config import EngineConfig
from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.files import check_folder, check_outputs, read_arrays
from spec.network import Network, Tensor, check_codes
from spec.numerics import Scheme, levels
from spec.operators.convolution import Conv
from spec.program import Program
from spec.progress import going, say as _say
from spec.registers import Trace

from . import golden, verilator
from .compare import first_difference
from .cycle_model import CAUSES, error_text, model
from .engine import fault
from .waveform import around, at_the_end

__all__ = ["main", "run_network", "check_program", "layer_network", "rtl_layer_cycles"]

IMAGES = paths("fashion_mnist")[2]
MOST = 1 << 27      # weights, or codes of a tensor, that a layer may have: several arrays have eight bytes for each


def layer_network(text: str, config: EngineConfig, seed: int = 0) -> Network:
    """A network of one layer from ``"3x3,256,256,14"``: kernel, input channels, filters, map size.

    Weights are random; the filters' schemes are in the ratio of the array's DSP and LUT slots (fixed-4 and PoT-4).
    """
    try:
        kernel, *sizes = text.split(",")
        kh, kw = map(int, kernel.split("x"))
        channels, filters, size = map(int, sizes)
        if min(kh, kw, channels, filters, size) < 1 or kh > size + kh // 2 * 2 or kw > size + kw // 2 * 2:
            raise ValueError
    except ValueError:
        raise AlloyError(f"the layer {text!r} is not KxK,CHANNELS,FILTERS,SIZE such as 3x3,256,256,14") from None
    rows, cols = size + 2 * (kh // 2) - kh + 1, size + 2 * (kw // 2) - kw + 1
    _bounded(text, config, kh * kw * channels * filters, (channels * size * size, filters * rows * cols), rows * cols)
    rng, bits = np.random.default_rng(seed), config.act_digit_bits
    lut = round(filters * config.lut_filters / config.slots)
    # In no order, as recipes choose them: outputs keep that of the channels.
    scheme = np.random.default_rng(0).permutation(
        np.array([Scheme.POT4] * lut + [Scheme.FIXED4] * (filters - lut), np.uint8))
    weight = np.stack([rng.choice(levels(Scheme(int(s))), (channels, kh, kw)) for s in scheme]).astype(np.int16)
    spread = np.sqrt((weight.astype(float) ** 2).reshape(filters, -1).sum(1)).clip(1) * (1 << bits) / 2
    mult = np.maximum(1, (spread.min() / spread * 30000)).astype(np.int32)
    shift = int(np.log2(spread.min() * 30000 / (1 << bits)))
    bias = np.full(filters, 1 << shift + bits - 1, np.int64)
    tensors = {"image": Tensor(name="image", channels=channels, height=size, width=size, bits=bits),
               "out": Tensor(name="out", channels=filters, height=rows, width=cols, bits=bits)}
    node = Conv(name="layer", input="image", output="out", weight=weight, scheme=scheme, mult=mult, bias=bias,
                shift=shift, lo=0,
                hi=(1 << bits) - 1, padding=(kh // 2, kw // 2))
    return Network(name="layer", input="image", output="out", tensors=tensors, nodes=[node])


def _bounded(text, config, weights, codes, pixels):
    """Refuse a layer that this machine could not hold or that the simulator would not finish."""
    if max(weights, *codes) > MOST:
        raise AlloyError(f"the layer {text!r} has {weights:,} weights, {codes[0]:,} input and {codes[1]:,} output "
                         f"codes: give a smaller one, with at most {MOST:,} of each")
    _finishes(f"the layer {text!r}", weights * pixels // (config.macs_dsp + config.macs_lut))


def _finishes(what, cycles):
    """Refuse what takes more cycles than the simulator runs."""
    if cycles > verilator.LIMIT:
        raise AlloyError(f"{what} needs at least {cycles:,} cycles and the simulator stops after {verilator.LIMIT:,}: "
                         "give a smaller one")


def rtl_layer_cycles(trace: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """Cycles of each layer by tag, from the trace: completion of its last command minus that of the layer before."""
    ends = {}
    for cycle, event, tag in trace:
        if event == Trace.DONE:
            ends[tag] = cycle
    out, before = {}, 0
    for tag in sorted(ends, key=lambda tag: ends[tag]):
        out[tag], before = ends[tag] - before, ends[tag]
    return out


def run_network(board: boards.Board, config: EngineConfig, network: Network, images: np.ndarray, *,
                cache: str = "build/cache", stalls: int | None = None, trace: str | None = None,
                verilog: dict[str, str] | None = None, say: Callable[[str], object] = _say) -> dict:
    """Run images (codes (N, C, H, W)) in RTL, every layer output compared with the golden model, then once more for
    cycles.

    Parameters
    ----------
    verilog : of the engine, file name to text; made if it is not given.
    stalls : seed of random pauses of every bus channel, None: no pauses.
    trace : file for a waveform (FST) of the cycles around the first difference, or in which the run broke off.

    Returns
    -------
    dict: ``layers`` (name, rtl_cycles, model_cycles, macs, utilisation, equal, losses), ``cycles``, ``fps``,
    ``tensors``, ``tensors_equal``, ``outputs`` (codes of the network's output), ``difference`` (the first one, as text,
    or None).
    """
    verilator.tool()        # or it is not installed, which is said before the work
    say(f"compiling {sum(node.macs(network) for node in network.nodes):,} multiply-accumulates for {config.name}")
    with going(say, "compiling"):
        whole, fast = compile(network, config, keep="all"), compile(network, config, warn=say)
        options: dict = {**board.memory(config)}
        modelled = {x.tag: x for x in model(fast, config, **options)}
    guess = round(sum(x.cycles for x in modelled.values()))
    _finishes(f"the network {network.name}", guess)
    say(f"{fast.command_count} commands, {len(fast.image) // 1024} KiB of image, about {guess:,} cycles")
    with going(say, f"elaborating {config.name}"):
        files = verilog or generate(config)
    verilator.build(files, config, cache, report=say)
    say("golden model")
    with going(say, "golden model"):
        expected = network.codes(images)
    say(f"RTL, every tensor, {len(images)} images of about {guess:,} cycles")
    found = check_program(whole, config, expected, images, files=files, options=options, cache=cache, stalls=stalls,
                          trace=trace, say=say)
    broken, first, wrong = (found.pop(name) for name in ("fault", "first", "wrong"))
    if broken is not None:
        raise AlloyError(broken)
    timed = _timed(verilator.build(files, config, cache, report=say), fast, images[:1], options, modelled, wrong, say)
    return {**found, **timed, "fps": board.clock_mhz * 1e6 / timed["cycles"],
            "difference": None if first is None else f"image {first[0]}: {first[1]}"}


def check_program(program: Program, config: EngineConfig, expected: Mapping[str, np.ndarray], images: np.ndarray, *,
                  files: dict[str, str], options: dict, cache: str, stalls: int | None = None,
                  trace: str | None = None, say: Callable[[str], object] = _say) -> dict:
    """Run images (codes (N, C, H, W)) in RTL and compare every tensor that the program writes with the codes
    ``expected``, {name: (N, C, H, W)}.

    Parameters
    ----------
    files : Verilog, file name to text. options : latency and bandwidth of the memory, for
        :meth:`sim.verilator.Model.run`.
    trace : as of :func:`run_network`.

    Returns
    -------
    dict: ``fault`` of the engine or the bus as text, or None; ``tensors`` (of all images) and ``tensors_equal``, names
    of the ``wrong`` ones, the ``first`` difference, (image, :class:`sim.compare.Difference`) or None, ``outputs``, as
    far as the images have come.
    """
    job = options | ({} if stalls is None else {"stall": 0.2, "seed": stalls})
    result = _images_in_turn(verilator.build(files, config, cache, report=say), program, images, job, say)
    wrong, window = fault(result), None
    runs = result.runs if wrong is None else [run for run in result.runs if run.done]
    found = {"fault": wrong, **_compared(program, config, expected, runs)}
    if trace is None:
        return found
    if wrong is not None:
        window = at_the_end(result, trace) if result.runs else None
    elif found["first"] is not None and (origin := found["first"][1].origin) is not None:
        window = around(result.runs[found["first"][0]], found["first"][0], origin, trace)
    if window is None:
        say(f"there is no difference to show: {trace} is not written")
    else:
        _show_waveform(verilator.build(files, config, cache, report=say, waveform=True), program, images, job, window,
                       say)
    return found


def _compared(program, config, expected, runs):
    """``tensors`` and ``tensors_equal``, codes of the output, names of the ``wrong`` tensors, and the ``first``
    difference: (image, difference) or None."""
    equal, tensors, first, wrong, outputs = 0, 0, None, set(), []
    for index, run in enumerate(runs):
        got = {name: program.unpack(name, data) for name, data in zip(program.outputs, run.regions, strict=True)}
        for name, codes in got.items():
            same = bool((codes == expected[name][index]).all())
            tensors, equal = tensors + 1, equal + same
            if not same:
                wrong.add(name)
        if first is None and wrong:
            first = index, first_difference(program, {n: expected[n][index] for n in got}, got, config)
        outputs.append(got[program.output])
    return {"tensors": tensors, "tensors_equal": equal, "outputs": np.array(outputs), "wrong": wrong, "first": first}


def _timed(engine, program, images, options, modelled, wrong, say):
    """``layers``, ``cycles`` and ``fps`` of a run that writes nothing but the output."""
    say("RTL, for cycles")
    with going(say, "RTL, for cycles", 10):
        timed = engine.run(program, images, **options)
    if (broken := fault(timed)) is not None:
        raise AlloyError(broken)
    config, rtl, layers = engine.config, rtl_layer_cycles(timed.runs[0].trace), []
    for layer in program.layers:
        guess, cycles = modelled[layer.tag], rtl[layer.tag]
        layers.append({"name": layer.name, "rtl_cycles": cycles, "model_cycles": round(guess.cycles),
                       "macs": layer.macs, "utilisation": layer.macs / cycles / (config.macs_dsp + config.macs_lut),
                       "equal": layer.output not in wrong, "losses": {k: round(v) for k, v in guess.losses.items()}})
    return {"layers": layers, "cycles": timed.runs[0].cycles}


def _images_in_turn(engine, program, images, job, say, **window):
    """The result of a job, with lines that say how far it is."""
    done = [0]

    def finished(count):
        done[0] = count
        say(f"image {count} of {len(images)}")
    with going(say, lambda: f"RTL, {done[0]} of {len(images)} images done", 10):
        return engine.run(program, images, report=finished, **job, **window)


def _show_waveform(engine, program, images, job, window, say):
    """Run a job again, up to the image in question, and write its waveform."""
    say(f"RTL, once more for the waveform of image {window.run}, cycles {window.first} to {window.end}")
    _images_in_turn(engine, program, images[:window.run + 1], job, say, window=window)
    say(f"waveform written to {window.path}")


def _table(result, board):
    print(f"{'layer':16}{'RTL':>9}{'model':>9}{'error':>8}{'MACs':>12}{'array':>8}  where the model sees the cycles go")
    for x in result["layers"]:
        losses = ", ".join(f"{k} {x['losses'][k]}" for k in CAUSES if x["losses"][k])
        off = x["model_cycles"] / x["rtl_cycles"] - 1
        print(f"{x['name']:16}{x['rtl_cycles']:>9}{x['model_cycles']:>9}{off:>8.1%}{x['macs']:>12}"
              f"{x['utilisation']:>8.1%}  {losses}")
    print(f"whole network: {result['cycles']} cycles = {result['fps']:.0f} frames per second at {board.clock_mhz} MHz "
          "(batch 1, 1 image in flight, start to END)")
    print(f"the model is an estimate: {error_text()}")


def _images(path, network):
    """(codes, labels) of the images to run."""
    arrays = read_arrays(path, "file of images", needed=("images", "labels"), fails="holds no images and labels",
                         way="give --images-file an .npz with images (N, C, H, W) and labels (N)")
    images, labels = arrays["images"], arrays["labels"]
    images = check_codes(images, network.tensors[network.input], f"{path}: its images")
    if labels.shape != images.shape[:1]:
        raise AlloyError(f"{path} holds {len(images)} images and labels of shape {labels.shape}: each image "
                         "needs one label")
    return images, labels


def _network(board, config, path, images_file, count, **how):
    """Run the first images of a file and show how often the network is right."""
    network = Network.load(path)
    images, labels = _images(images_file, network)
    if not 1 <= count <= len(images):
        raise AlloyError(f"{count} images asked for: the file has {len(images)}")
    result = run_network(board, config, network, images[:count], **how)
    _table(result, board)
    with going(_say, f"golden model, {len(images)} images", 10):
        right = golden.answers(lambda codes: network.codes(codes)[network.output], images) == labels
    hits = result["outputs"].reshape(count, -1).argmax(1) == labels[:count]
    print(f"accuracy integer (golden) {right.mean():.2%} of {len(images)} images, RTL {hits.mean():.2%} of "
          f"{count} images (golden on the same: {right[:count].mean():.2%})")
    return result


def _layer(board, config, layer, **how):
    """Run one image through one layer and show what holds it back."""
    network = layer_network(layer, config)
    shape = network.tensors["image"].shape
    images = np.random.default_rng(1).integers(0, 1 << config.act_digit_bits, (1, *shape))
    result = run_network(board, config, network, images, **how)
    _table(result, board)
    only, peak = result["layers"][0], config.macs_dsp + config.macs_lut
    rate = only["macs"] / only["rtl_cycles"]
    print(f"layer {layer}: {only['rtl_cycles']} cycles, {rate:.0f} of {peak} MACs per cycle = "
          f"{rate / peak:.1%} of the array")
    lost = {k: v for k, v in only["losses"].items() if k != "macs" and v}
    largest = sorted(lost, key=lambda k: -lost[k])
    print("held back by: " + ", ".join(f"{k} {lost[k] / only['model_cycles']:.1%}" for k in largest))
    return result


@entry("python -m sim.run", "--platform zcu102 --layer 3x3,256,256,14")
def main(
    platform: Annotated[str, Option(help=f"one of {boards.CHOICES}")],
    config: Annotated[str | None, Option(help="engine configuration (JSON) instead of the board's own")] = None,
    network: Annotated[str, Option(help="integer network (alloy quantize makes it)")] = "build/network.npz",
    images: Annotated[int, Option(help="number of images")] = 20,
    images_file: Annotated[str, Option(help=".npz with images (N, C, H, W) and labels (N)",
                                       show_default="those of the example")] = str(IMAGES),
    layer: Annotated[str | None, Option(help="run one layer instead: KxK,CHANNELS,FILTERS,SIZE")] = None,
    stalls: Annotated[int | None, Option(min=0, max=(1 << 32) - 1, metavar="SEED",
                                         help="pause every bus channel at random")] = None,
    trace: Annotated[str | None,
                     Option(metavar="FILE", help="waveform (FST) of the cycles around the first difference, "
                                        "if there is one")] = None,
    cache: Annotated[str, Option(help="directory of built simulators")] = "build/cache",
) -> Outcome:
    """Run a network, or one layer, on the Verilated engine of a board.

    Every output of every layer is compared with the golden model bit for bit, and cycles are counted. Exit status 1 if
    anything differs.
    """
    board = boards.get(platform)
    engine = EngineConfig.load(config) if config else board.config
    check_outputs(trace, inputs=(config, *(() if layer else (network, images_file))))
    check_folder(cache)
    how = {"cache": cache, "stalls": stalls, "trace": trace}
    if layer:
        count, result = 1, _layer(board, engine, layer, **how)
    else:
        count, result = images, _network(board, engine, network, images_file, images, **how)
    if result["difference"]:
        print(f"first difference: {result['difference']}")
    print(f"bit-exact: {result['tensors_equal']} of {result['tensors']} tensors, {count} images")
    kept = {k: result[k] for k in ("layers", "cycles", "fps", "tensors", "tensors_equal")}
    return 0 if result["tensors_equal"] == result["tensors"] else 1, {
        "platform": board.name, "clock_mhz": board.clock_mhz, "digest": engine.digest, "images": count, "batch": 1,
        "images_in_flight": 1, **kept}


if __name__ == "__main__":
    sys.exit(main())
