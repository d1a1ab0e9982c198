"""BitNet: ternary codes, four per byte, with a scale per tensor.

Source: transformers 5.23.0, ``integrations/bitnet.py``, ``utils/quantization_config.py``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen

from quantlevels.scheme import (
    DeclaredLevel,
    MethodConfig,
    Scheme,
    words,
)
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.scaled import PACKINGS as SCALED


@frozen(kw_only=True, eq=False, repr=False)
class BitNetConfig(MethodConfig):
    """A ``quantization_config`` of method bitnet."""

    ignored_keys: ClassVar[frozenset[str]] = words("linear_class rms_norm_eps use_rms_norm")

    quantization_mode: Literal["online", "offline"] = "offline"

    def general(self) -> DeclaredLevel:
        """Ternary codes, four per byte with a scale per tensor; mode online stores floats and quantizes on loading."""
        return declared_as("Ternary")  # stored in 2 bits, although papers and configs say 1.58

    def quantized_on_disk(self) -> bool:
        """Whether the mode is offline."""
        return self.quantization_mode == "offline"


SCHEMES = (Scheme(method="bitnet", config=BitNetConfig, packings=SCALED),)
