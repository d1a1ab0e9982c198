"""AutoRound: its own config over the packings of GPTQ, AWQ, compressed-tensors and MLX.

Source: auto-round 0.16.1, ``schemes.py``, ``export/export_to_autoround/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import evolve, field, frozen
from attrs.validators import optional

from quantlevels.container import JSON
from quantlevels.scheme import (
    Config,
    DeclaredLevel,
    MethodConfig,
    Scheme,
    UnknownTypeError,
    declared_integer,
    level_of_each,
    one_of,
    valid_group_size,
)
from quantlevels.schemes.awq import GEMM
from quantlevels.schemes.common import AUTO_ROUND_KEYS, declared_as, valid_block
from quantlevels.schemes.compressed_tensors import MICROSCALED, PACKED
from quantlevels.schemes.gptq import PACKED as GPTQ_PACKED
from quantlevels.schemes.scaled import PACKINGS as SCALED
from quantlevels.vocabulary.level import BITS_PER_BYTE

_SCALE_BITS = 16
#: a name of ``extra_config`` with one of these is a regular expression
_REGEX_MARKS = frozenset("*\\[(^$|+")
_WIDTHS = (2, 3, 4, 5, 6, 7, 8, 16, 32)
#: part of a data type, without underscores → bits → level, for those that are not integers in groups
_FORMATS = {
    "mxfp": {4: "MXFP4", 6: "MXFP6_E2M3", 8: "MXFP8_E4M3"},
    "mxint": {8: "MXINT8"},
    "nvfp": {4: "NVFP4"},
    "e5m2": {8: "Float8E5M2"},
    "fp": {8: "Float8E4M3FN"},
}


@frozen(kw_only=True, eq=False, repr=False)
class Overrides:
    """What ``extra_config`` changes for some layers."""

    ignored_keys: ClassVar[frozenset[str]] = AUTO_ROUND_KEYS

    bits: int | None = field(default=None, validator=optional(one_of(*_WIDTHS)))
    group_size: int | None = field(default=None, validator=valid_group_size)
    weight_block_size: tuple[int, int] | None = field(default=None, validator=valid_block)
    sym: bool | None = None
    data_type: str | None = None


@frozen(kw_only=True, eq=False, repr=False)
class AutoRoundConfig(MethodConfig):
    """A ``quantization_config`` of method auto-round; defaults are transformers'."""

    ignored_keys: ClassVar[frozenset[str]] = AUTO_ROUND_KEYS
    overrides_inherit: ClassVar[bool] = True

    bits: int = field(default=4, validator=one_of(*_WIDTHS))
    group_size: int | None = field(default=128, validator=valid_group_size)
    weight_block_size: tuple[int, int] | None = field(default=None, validator=valid_block)
    sym: bool | None = True
    data_type: str = "int"
    packing_format: str | None = None
    #: layer, by name or regular expression → other settings
    extra_config: Mapping[str, Overrides] | None = None

    def general(self) -> DeclaredLevel | None:
        """Integers with a 16-bit scale and a packed zero point per group, or a microscaling level.

        Raises:
            UnknownTypeError: for a data type that is not known.
        """
        if self.bits > 8:  # 16 and 32 are how `extra_config` leaves a layer as it is
            return None
        data_type = self.data_type.replace("_", "")
        kind = next((part for part in _FORMATS if part in data_type), "")
        name = _FORMATS.get(kind, {}).get(self.bits)
        if name:
            declared = declared_as(name)
            if self.weight_block_size:  # scales are as wide as the model's own dtype
                return evolve(declared, block=self.weight_block_size, bits_per_weight=None)
            return declared
        if "int" not in data_type:
            raise UnknownTypeError(f"data_type {self.data_type!r:.80} of {self.bits} bits is not known")
        side_bits = _SCALE_BITS + self.bits
        if self.packing_format == "mlx":  # a bias of 16 bits in place of a zero point
            side_bits = 2 * _SCALE_BITS
        elif kind == "mxint":  # AutoRound's MXINT4 has no level of its own: INT4 with a power of two per group
            side_bits = BITS_PER_BYTE
        return declared_integer(self.bits, self.group_size, self.sym, side_bits=side_bits)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers of ``extra_config``; as AutoRound does, a name with special characters is a regular expression."""
        levels = level_of_each(self.extra_config or {}, self._with)
        return {f"re:{name}" if set(name) & _REGEX_MARKS else name: level for name, level in levels.items()}

    def _with(self, changes: Overrides) -> DeclaredLevel | None:
        return evolve(
            self,
            bits=changes.bits or self.bits,
            group_size=changes.group_size or self.group_size,
            weight_block_size=changes.weight_block_size or self.weight_block_size,
            sym=self.sym if changes.sym is None else changes.sym,
            data_type=changes.data_type or self.data_type,
        ).general()


def _prepare(config: Config) -> Config:
    """Blocks, and one scale per tensor, are group sizes too: ``[128, 128]`` and 0, both of floats."""
    extra = config.get("extra_config")
    if not isinstance(extra, dict):
        return _sized({**config})
    layers = {name: _sized(settings) if isinstance(settings, dict) else settings for name, settings in extra.items()}
    return {**_sized({**config}), "extra_config": layers}


def _sized(settings: dict[str, JSON]) -> dict[str, JSON]:
    size = settings.get("group_size")
    if isinstance(size, list):
        return {**settings, "group_size": None, "weight_block_size": size}
    if size == 0 and "fp" in str(settings.get("data_type")):
        return {**settings, "group_size": None}
    return settings


SCHEMES = (
    Scheme(
        method="auto-round",
        config=AutoRoundConfig,
        packings=(GPTQ_PACKED, GEMM, MICROSCALED, PACKED, *SCALED),
        aliases=("intel/auto-round", "inc"),
        prepare=_prepare,
    ),
)
