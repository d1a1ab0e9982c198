"""QuIP#: indices into a lattice codebook, between two random rotations.

Source: quip-sharp at 1d6e3c2d, ``lib/linear/quantized_linear.py``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from attrs import frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    DeclaredLevel,
    Hint,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    UnknownTypeError,
    Weight,
    code_bits,
    unwrapped,
    words,
)
from quantlevels.schemes.common import codebook_level

#: QuIP# codebook → bits per weight
_CODEBOOKS = {"E8P12": 2, "D4": 2, "HI4B1C": 4, "E8P12RVQ3B": 3, "E8P12RVQ4B": 4}


def _fold_quip(module: Module, hint: Hint) -> Weight:
    """Qidxs [N, K/(codesz*packsz)], SU [K], SV [N]."""
    parameters = module["SU"].elements * module["SV"].elements
    bits = code_bits(module["Qidxs"], parameters)  # by bytes: versions differ in the type that holds the indices
    shape = (module["SV"].elements, module["SU"].elements)
    return Weight(level=codebook_level("QUIP", bits), parameters=parameters, code_bits=bits, shape=shape)


_QUIP = Packing(
    "Qidxs",
    ("SU", "SV"),
    _fold_quip,
    sides=(
        *(TensorRule(name, (*FLOAT_TYPES, "Int8", "Int32"), role="correction") for name in ("SU", "SV")),
        TensorRule("Wscale", FLOAT_TYPES, role="scale"),
        *(TensorRule(name, role="correction") for name in ("had_left", "had_right", "A", "B")),
        *("codebook_id", "fuse_scales", "rcp", "planes"),
    ),
)


@frozen(kw_only=True, eq=False, repr=False)
class QuipConfig(MethodConfig):
    """``quip_params`` of a config.json."""

    ignored_keys: ClassVar[frozenset[str]] = words(
        "codesz fused idx_dtype lora_rank model_version ocs_down_size outlier_channel_split packsz quip_params "
        "rescale_WH resid_scale_override use_rand"
    )

    codebook: str = ""

    def general(self) -> DeclaredLevel | None:
        """The bits of its codebook.

        Raises:
            UnknownTypeError: for a codebook that is not known.
        """
        if self.codebook not in _CODEBOOKS:
            raise UnknownTypeError(f"the codebook {self.codebook!r:.80} is not known")
        bits = _CODEBOOKS[self.codebook]
        return DeclaredLevel(level=codebook_level("QUIP", bits), bits_per_weight=Fraction(bits))


SCHEMES = (
    Scheme(
        method="quip#",
        config=QuipConfig,
        packings=(_QUIP,),
        aliases=("quip_sharp", "quip"),
        prepare=unwrapped("quip_params"),
    ),
)
