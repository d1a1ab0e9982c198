"""EETQ: 8-bit codes with a scale per output.

Source: transformers 5.23.0, ``integrations/eetq.py``, ``utils/quantization_config.py``.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from quantlevels.scheme import (
    DeclaredLevel,
    MethodConfig,
    Scheme,
)
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.scaled import PACKINGS as SCALED


@frozen(kw_only=True, eq=False, repr=False)
class EETQConfig(MethodConfig):
    """A ``quantization_config`` of method eetq."""

    weights: Literal["int8"] = "int8"

    def general(self) -> DeclaredLevel:
        """8-bit codes with a scale per output channel."""
        return declared_as("Int8")


SCHEMES = (Scheme(method="eetq", config=EETQConfig, packings=SCALED),)
