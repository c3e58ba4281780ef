"""A report for people."""

from collections.abc import Iterator

from .report import Report

__all__ = ["lines"]

SHOWN = 5           # names of layers in one line
SLOWEST = 5


def lines(report: Report) -> Iterator[str]:
    """The report, line by line."""
    shape = "x".join(map(str, report.shape))
    yield f"{report.model}, images of {shape}, on {report.platform} with the recipe {report.recipe}"
    said = set()
    for finding in report.refused:
        yield f"not supported: {finding.where} {finding.reason}"
        if finding.limit and finding.limit not in said:
            yield f"    limit: {finding.limit}"
        said.add(finding.limit)
        yield f"    way out: {finding.rewrite}"
    if report.fit:
        yield from _fit(report)
    if report.performance:
        yield from _performance(report)
    yield from _roundings(report.roundings)
    for risk in report.risks:
        yield f"accuracy: {_names(risk.layers) + ': ' if risk.layers else ''}{risk.reason}"
    count = len(report.refused)
    verdict = ("everything is supported" if report.accepted else
               f"{count} thing{'s' * (count > 1)} cannot run")
    yield f"{verdict} ({report.layers} layers looked at in {report.seconds:.1f} s)"


def _roundings(found):
    """What is said of the model, and the layers that differ most from the file."""
    layers = sorted((one for one in found if one.layer), key=lambda one: -one.share)
    yield from (f"rounding: {one.reason}" for one in layers[:SHOWN])
    if len(layers) > SHOWN:
        yield f"    and {len(layers) - SHOWN} layers that differ less"
    yield from (f"rounding: {one.reason}" for one in found if not one.layer)


def _names(names):
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _fit(report):
    fit = report.fit
    bits = f" of {fit.weight_bits:g} bits on average" if fit.weight_bits else ""
    yield (f"fits: {fit.weights:,} weights{bits}; {fit.image_bytes:,} bytes of commands and parameters in DRAM, "
           f"{fit.window_bytes:,} with tensors")
    if fit.in_parts:
        yield (f"    {len(fit.in_parts)} layers are larger than the activation memories and are worked on in parts: "
               f"{_names(list(fit.in_parts))}")
    yield from (f"    {warning}" for warning in fit.warnings)


def _performance(report):
    found = report.performance
    speed = f" = {found.fps:,.1f} frames per second at {found.clock_mhz:g} MHz" if found.fps else ""
    share = sum(layer.utilisation * layer.cycles for layer in found.layers) / max(found.cycles, 1)
    yield (f"estimated: {found.cycles:,} cycles for {found.macs:,} multiply-accumulates{speed} (batch {found.batch}, "
           f"{found.images_in_flight} image in flight, {share:.0%} of the array)")
    slowest = sorted(found.layers, key=lambda layer: -layer.cycles)[:SLOWEST]
    yield "    slowest: " + ", ".join(f"{layer.name} {layer.cycles / max(found.cycles, 1):.0%}" for layer in slowest)
    yield f"    not counted, done by the host: {'; '.join(found.host)}"
    yield f"    the model is an estimate: {found.error}"
