"""Every level that comes with quantlevels beside the five; loaded on the first name that is not one of those."""

from quantlevels.level import QuantizationLevel

SHIPPED: tuple[QuantizationLevel, ...] = ()
AMBIGUOUS: dict[str, tuple[str, ...]] = {}
