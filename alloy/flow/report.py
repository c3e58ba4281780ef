"""The end of a flow: what came out, for people and as JSON."""

from pathlib import Path
from typing import Any

from boards import Board

from .options import FlowOptions
from .record import Record

__all__ = ["report"]


def report(options: FlowOptions, folder: Path, board: Board, record: Record) -> tuple[str, dict[str, Any]]:
    """(text, values) of what the steps have found."""
    done = {name: step.result or {} for name, step in record.steps.items() if name != "report"}
    times = {name: record.steps[name].seconds for name in record.steps if name != "report"}
    files = [str(folder / name) for step in record.steps.values() for name in step.files
             if not name.startswith("report") and (folder / name).exists()]
    quantized, run = done["quantize"], done["run"]
    lines = [f"{options.model} on {board.name}, recipe {options.recipe}", *quantized["lines"]]
    lines.append("filters             " + ", ".join(f"{count} {name}" for name, count in quantized["filters"].items()))
    lines.append(f"cycles              {run['cycles']:,} of one image in RTL, start to END")
    lines.append(f"frames per second   {run['fps']:,.1f} at {run['clock_mhz']:g} MHz (batch 1, one image in flight)")
    lines.append(f"bit-exact           {run['tensors_equal']} of {run['tensors']} tensors of {run['images']} images, "
                 "RTL against golden model")
    if done["build"]["resources"]:
        lines.append("resources           " + ", ".join(f"{value:,g} {name}" for name, value in
                                                          done["build"]["resources"].items()))
    lines.append("seconds             " + ", ".join(f"{name} {value:g}" for name, value in times.items()))
    lines += ["files:", *(f"  {name}" for name in files)]
    values = {"model": options.model, "platform": board.name, "recipe": options.recipe, "test": quantized["test"],
              "filters": quantized["filters"], **{key: run[key] for key in (
                  "cycles", "fps", "clock_mhz", "batch", "images_in_flight", "tensors", "tensors_equal")},
              "estimated_cycles": done["compile"]["estimated_cycles"], "resources": done["build"]["resources"],
              "seconds": times, "files": files}
    return "\n".join(lines) + "\n", values
