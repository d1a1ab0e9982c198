"""Number formats and layouts in the terms of a declaration: what it tells apart, and how it is worded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantlevels.scheme import PER_ROW

if TYPE_CHECKING:
    from quantlevels.vocabulary.level import QuantizationLevel

#: What a code means, for levels of which one declaration covers several: a config that says FP8 in E4M3 does not tell
#: apart the variants of E4M3, nor "4-bit integers" signed codes from unsigned ones with a zero point.
_NUMBERS: Final[dict[str, str]] = {
    **{f"{kind}{bits}": f"INT{bits}" for kind in ("Int", "UInt") for bits in range(1, 9)},
    **dict.fromkeys(("Float8E4M3FN", "Float8E4M3FNUZ", "Float8E4M3", "Float8E4M3B11FNUZ"), "FP8 E4M3"),
    **dict.fromkeys(("Float8E5M2", "Float8E5M2FNUZ"), "FP8 E5M2"),
    "Float4E2M1": "FP4 E2M1",
    "MXFP4": "MXFP4",
    "NVFP4": "NVFP4",
    "MXFP8_E4M3": "MXFP8 E4M3",
    "MXFP8_E5M2": "MXFP8 E5M2",
    "NF4": "NF4",
    "BNB_FP4": "BNB_FP4",
}
#: A declaration of plain codes is not contradicted by blocks of the same codes.
_BLOCKS_OF: Final[dict[str, str]] = {
    "MXFP4": "FP4 E2M1",
    "NVFP4": "FP4 E2M1",
    "MXFP8 E4M3": "FP8 E4M3",
    "MXFP8 E5M2": "FP8 E5M2",
}


_SYMMETRY: Final = {True: "symmetric", False: "asymmetric"}


def symmetry(symmetric: bool) -> str:
    """Whether a declaration has no zero points, in words."""
    return _SYMMETRY[symmetric]


def groups(size: int | None) -> str:
    """A group size in words; none, 0 and -1 all mean one scale per row."""
    if not size or size == PER_ROW:
        return "one scale per row"
    return f"groups of {size}"


def is_other_format(declared: QuantizationLevel, stored: QuantizationLevel) -> bool:
    """Whether codes mean other numbers than declared, whatever their width; no for formats that are not compared."""
    expected, found = _NUMBERS.get(declared.name), _NUMBERS.get(stored.name)
    # codebooks and mixtures: their names say nothing of the numbers behind a code, so nothing is compared
    if expected is None or found is None:
        return False
    return expected not in (found, _BLOCKS_OF.get(found))
