"""``alloy diff``: the program."""

import sys
from typing import Annotated, Any

import numpy as np
from typer import Option

from alloy.doctor import THINGS, Found
from quant.options import collected, with_options
from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.files import check_outputs
from spec.progress import say

from .hardware import compare_rtl
from .integers import compare_codes, compare_numbers
from .layers import LayerError, compare_layers, values_of
from .model import compare_model
from .options import DiffOptions
from .picture import check_picture, draw
from .subject import Subject, flow_folder, open_subject
from .words import float_lines, integer_lines, rtl_lines, worst_of

__all__ = ["main", "STAGES"]

STAGES = "float", "integer", "rtl"
VALUES = 1 << 20        # of the layer in the picture
NEAR = 1e-3             # of the outputs' standard deviation: what rounding makes


@entry("python -m alloy.diff", "models:Net --weights net.pth --images photos --size 224 --mean imagenet "
       "--picture errors.png")
@with_options(DiffOptions)
def main(
    given: dict,
    options_file: Annotated[str | None, Option("--options", help="YAML file of these options; the command line wins")
                            ] = None,
    first: Annotated[str | None, Option("--from", metavar="STAGE", help=f"first comparison: one of {', '.join(STAGES)}")
                     ] = None,
    last: Annotated[str | None, Option("--to", metavar="STAGE", help="last comparison (default rtl with --platform, "
                                       "--config or a flow, else integer)")] = None,
    picture: Annotated[str | None, Option(metavar="FILE", help="errors of the layers and values of the worst one: "
                                          ".png, .svg or .pdf")] = None,
    trace: Annotated[str | None, Option(metavar="FILE", help="waveform (FST) of the cycles around the first difference "
                                        "of RTL, if there is one")] = None,
) -> Outcome:
    """Say where float network, fake quantization, integer network and RTL part: layer by layer, bit by bit.

    Takes a model with its images, or the folder of a finished alloy flow. Exit status 1 if integers or RTL differ.
    """
    options = collected(DiffOptions, given, options_file)
    if options.model is None:
        raise AlloyError("no model is given: give MODULE:NAME, a file or the folder of a flow")
    stages = _stages(options, first, last)
    inputs = (options.model, options.weights, options.config, options.network, options.program, options_file)
    check_outputs(picture, trace, inputs=inputs)
    if picture is not None:
        if "float" not in stages:
            raise AlloyError(f"--picture {picture} is of the errors of float: leave out --from {first}")
        check_picture(picture)
    if trace is not None and "rtl" not in stages:
        raise AlloyError(f"--trace {trace} is of a difference in RTL, which is not compared: give --platform, or --to "
                         "rtl")
    subject = open_subject(options, say, quantized=stages[0] != "rtl", simulated="rtl" in stages)
    results: dict[str, Any] = {}
    for stage in stages:
        results[stage] = WORK[stage](subject, picture if stage == "float" else trace)
    different = [stage for stage, result in results.items() if not result["equal"]]
    print("; ".join(f"{stage}: {result['verdict']}" for stage, result in results.items()))
    return int(bool(different)), {"schema": 1, "model": options.model, "different": different, "stages": results}


def _stages(options: DiffOptions, first: str | None, last: str | None) -> tuple[str, ...]:
    """The names of the comparisons that are asked for and that this machine can make."""
    for name in (first, last):
        if name is not None and name not in STAGES:
            raise AlloyError(f"there is no comparison {name!r}: choose {', '.join(STAGES)}")
    engine = options.platform or options.config or flow_folder(options)
    end = last or ("rtl" if engine or first == "rtl" else "integer")
    begin = STAGES.index(first) if first else 0
    if begin > STAGES.index(end):
        raise AlloyError(f"--from {first} comes after --to {end}: the comparisons are {', '.join(STAGES)}")
    if end == "rtl":
        gone = [thing for thing in THINGS if thing.name in ("Verilator", "C++ compiler", "make")
                and not isinstance(thing.find(), Found)]
        if gone and "rtl" in (first, last):
            raise AlloyError(f"RTL needs {gone[0].name}, which is not here ({gone[0].way}): give --to integer")
        if gone:
            say(f"RTL is not compared: {gone[0].name} is not here ({gone[0].way})")
            end = "integer"
    return STAGES[begin:STAGES.index(end) + 1]


def _float(subject: Subject, picture: str | None) -> dict[str, Any]:
    assert subject.net is not None
    codes = subject.codes(subject.options.compare)
    say(f"float against fake quantization, {len(codes)} images")
    errors, outputs = compare_layers(subject.net, codes)
    worst = worst_of(errors)
    model = compare_model(subject, subject.options.compare, outputs)
    if model.border > NEAR:
        print(f"outputs are up to {model.border:.2g} standard deviations from the model's: zero padding of the image "
              f"is pixel {model.pixel}, which is not the mean of every channel")
    for line in float_lines(errors, worst, model.off, NEAR):
        print(line)
    if picture is not None:
        _draw(subject, picture, errors, worst, codes)
    equal = model.off <= NEAR
    verdict = "no layer" if worst is None else f"layer {worst.name} has the largest error of its own"
    return {"equal": equal, "verdict": verdict if equal else "the float network is not the model", "images": len(codes),
            "model_error": model.off, "padding_error": model.border, "worst": None if worst is None else worst.name,
            "picture": picture, "layers": [one.form() for one in errors]}


def _draw(subject: Subject, picture: str, errors: list[LayerError], worst: LayerError | None,
          codes: np.ndarray) -> None:
    """The picture; the worst layer's values are those of a few images."""
    shown = worst or errors[-1]
    assert subject.net is not None
    few = max(1, VALUES // int(np.prod(subject.net.graph.shapes[shown.tensor])))
    draw(picture, subject.job.name, errors, shown, values_of(subject.net, shown.name, codes[:few]))
    print(f"picture written to {picture}")


def _integer(subject: Subject, _: str | None) -> dict[str, Any]:
    assert subject.net is not None
    codes = subject.codes(subject.options.compare)
    say(f"fake quantization against integers, {len(codes)} images")
    numbers, found = compare_numbers(subject.net, subject.network), None
    if not numbers or not numbers[0].startswith("its layers are others"):
        found = compare_codes(subject.net, subject.network, codes)
    for line in integer_lines(numbers, found):
        print(line)
    equal = not numbers and found is not None and found.first is None
    where = f"differ in layer {found.first.layer}" if found and found.first else "differ" if not equal else "equal"
    return {"equal": equal, "verdict": where, "images": len(codes), "numbers": numbers,
            "codes": None if found is None else found.form()}


def _rtl(subject: Subject, trace: str | None) -> dict[str, Any]:
    assert subject.engine is not None
    codes = subject.codes(subject.options.simulate)
    found = compare_rtl(subject.network, codes, subject.engine, subject.program, say, trace)
    for line in rtl_lines(found):
        print(line)
    equal = found.fault is None and found.equal == found.tensors and not found.program
    where = f"differs in layer {found.first.layer}" if found.first else "equal" if equal else "differs"
    return {**found.form(), "tensors_equal": found.equal, "equal": equal, "verdict": where, "trace": trace}


WORK = {"float": _float, "integer": _integer, "rtl": _rtl}


if __name__ == "__main__":
    sys.exit(main())
