"""The recipes by the names that users give: each with its options and the bits that channels are equalized for."""

from dataclasses import dataclass, field

__all__ = ["VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """A recipe (:data:`quant.recipes.RECIPES`) with ``options``, equalized for ``bits`` of weights and activations; a
    ``note`` for tables."""

    recipe: str
    options: dict = field(default_factory=dict)
    bits: tuple[int, int] = (4, 5)
    note: str = ""


VARIANTS = {
    "fixed8": Variant("fixed", {"bits": 8, "act_bits": 8}, (8, 8), "8-bit weights and activations"),
    "fixed4": Variant("fixed", {"bits": 4, "act_bits": 4, "ends": 8}, (4, 4), "4-bit, first and last layer 8-bit"),
    "uniform4": Variant("fixed", {"bits": 4, "act_bits": 5}, (4, 5), "4-bit weights, A5"),
    "uniform4_a8": Variant("fixed", {"bits": 4, "act_bits": 8}, (4, 8), "4-bit weights, A8"),
    "ratio": Variant("ratio", {}, (4, 5), "PoT-4, fixed-4, fixed-8 in the ratio 35:60:5 by the weights alone, A5"),
    "ilmpq": Variant("ilmpq", {}, (4, 4), "60:35:5, A4; reconstruction of the eigenvalue"),
    "msq": Variant(
        "msq", {}, (4, 4), "SP2 60 %, fixed-4 40 %, A4; reconstruction of the levels from a secondary source"
    ),
    "ios_pot": Variant("ios_pot", {}, (4, 8), "PoT-4, A8; reconstruction"),
    "ios_pot3": Variant("ios_pot", {"bits": 3}, (4, 8), "PoT-3, A8; reconstruction"),
    "hbp": Variant("hbp", {}, (4, 5), "4 bits on average, A5; reconstruction"),
    "hbp_a8": Variant("hbp", {"act_bits": 8}, (4, 8), "4 bits on average, A8; reconstruction"),
    "nonuniform": Variant(
        "nonuniform", {}, (4, 4), "16 levels for weights and for activations, single scale; reconstruction"
    ),
    "nonuniform_scaled": Variant(
        "nonuniform", {"single_scale": False}, (4, 4), "16 levels for weights and for activations; reconstruction"
    ),
    "nonuniform_kq": Variant(
        "nonuniform", {"quantiles": True}, (4, 4), "k-quantiles for weights, as published; reconstruction"
    ),
    "film_qnn": Variant("film_qnn", {}, (4, 5), "95 % W4, 5 % W8, A5"),
    "film_qnn_a8": Variant("film_qnn", {"act_bits": 8}, (4, 8), "95 % W4, 5 % W8, A8"),
    "alloy": Variant("alloy", {}, (4, 5), "ours, A5, fewest cycles"),
    "alloy_more": Variant("alloy", {"slack": 0.25}, (4, 5), "ours, a quarter more cycles"),
    "alloy_a8": Variant("alloy", {"act_bits": 8}, (4, 8), "ours, A8, fewest cycles of the array"),
}
