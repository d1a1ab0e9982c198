"""Gemma: codes in bytes with a scale per row, whose width patterns choose.

Source: transformers 5.23.0, ``integrations/gemma_quant.py``, ``utils/quantization_config.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

from attrs import field, frozen

from quantlevels.scheme import (
    DeclaredLevel,
    MethodConfig,
    Scheme,
    integer,
    level_of_each,
    one_of,
    words,
)
from quantlevels.schemes.scaled import PACKINGS as SCALED


@frozen(kw_only=True, eq=False, repr=False)
class GemmaModule:
    """The width of the modules a pattern names."""

    num_bits: int = field(validator=one_of(2, 4, 8))


@frozen(kw_only=True, eq=False, repr=False)
class GemmaConfig(MethodConfig):
    """A ``quantization_config`` of method gemma."""

    ignored_keys: ClassVar[frozenset[str]] = words("activation_num_bits quantize_activations quantize_embeddings")

    num_bits: int = field(default=4, validator=one_of(2, 4, 8))
    module_quant_configs: Mapping[str, GemmaModule] | None = None

    def general(self) -> DeclaredLevel:
        """Codes in bytes with a scale per row."""
        return _rows(self.num_bits)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules that patterns give another width."""
        patterns = {f"re:{name}": settings for name, settings in (self.module_quant_configs or {}).items()}
        return level_of_each(patterns, lambda settings: _rows(settings.num_bits))


def _rows(bits: int) -> DeclaredLevel:
    return DeclaredLevel(level=integer(bits), bits_per_weight=Fraction(bits))


SCHEMES = (Scheme(method="gemma", config=GemmaConfig, packings=SCALED),)
