"""The flow: its steps one after the other, those kept that are still right."""

from pathlib import Path
import time
from typing import Any

from quant.options import to_yaml
from quant.quantize import Report
from spec.errors import AlloyError, Failed
from spec.files import write_text
from spec.progress import say as _say

from .options import FlowOptions
from .record import Done, Record, digest_of, opened
from .steps import STEPS, Flow, Step, begin

__all__ = ["run_flow", "NAMES"]

NAMES = tuple(step.name for step in STEPS)
OPTIONS = "flow.yaml"


def run_flow(options: FlowOptions, out: str | Path, *, first: str | None = None, last: str | None = None,
             say: Report = _say) -> dict[str, Any]:
    """Run the steps up to ``last`` in the folder ``out``; returns the result of each, by its name.

    Without ``first`` every result that is there and of the same inputs is kept; with it, all steps from that one on
    run, and the results of those before must be right. Raises :class:`AlloyError` for what is wrong with the options,
    and :class:`Failed` if a step fails.
    """
    chosen = [_number(name) if name is not None else other for name, other in ((first, 0), (last, len(STEPS) - 1))]
    if chosen[0] > chosen[1]:
        raise AlloyError(f"--from {first} comes after --to {last}: the steps are {', '.join(NAMES)}")
    with opened(Path(out)) as record:
        flow = begin(options, record.folder, say)
        write_text(record.folder / OPTIONS, to_yaml(options))
        for number, step in enumerate(STEPS[:chosen[1] + 1]):
            inputs = step.inputs(flow, record)
            stale = record.stale(step.name, inputs)
            if first is not None and number < chosen[0]:
                if stale is not None:
                    raise AlloyError(f"the result of {step.name} in {out} {stale}: begin --from {step.name}, or leave "
                                     "out --from")
                say(f"{step.name}: as it is")
            elif first is None and stale is None:
                say(f"{step.name}: done before, of the same inputs")
            else:
                _run(step, flow, record, inputs, say)
            flow.results[step.name] = record.steps[step.name].result or {}
    return flow.results


def _number(name):
    if name not in NAMES:
        raise AlloyError(f"there is no step {name!r}: choose {', '.join(NAMES)}")
    return NAMES.index(name)


def _run(step: Step, flow: Flow, record: Record, inputs: dict, say: Report) -> None:
    record.check_replaceable(step.name, step.files)
    say(f"{step.name} ({NAMES.index(step.name) + 1} of {len(NAMES)})")
    record.keep(step.name, Done(inputs, dict.fromkeys(step.files)))
    began = time.monotonic()
    try:
        result = step.run(flow, record)
    except AlloyError as error:
        raise Failed(f"{step.name}: {error}") from None
    seconds = time.monotonic() - began
    files = {name: digest_of(flow.folder / name) for name in step.files if (flow.folder / name).exists()}
    record.keep(step.name, Done(inputs, files, round(seconds, 1), result))
    say(f"{step.name}: {seconds:.1f} s")
