"""AutoRound: its own config over the packings of GPTQ, AWQ, compressed-tensors and MLX.

Source: auto-round 0.16.1, ``schemes.py``, ``export/export_to_autoround/``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from quantlevels.schemes.awq import GEMM
from quantlevels.schemes.base import (
    DeclaredLevel,
    MethodConfig,
    Scheme,
    declared_as,
    declared_integer,
    one_of,
    sizes,
)
from quantlevels.schemes.compressed_tensors import PACKED
from quantlevels.schemes.gptq import PACKED as GPTQ_PACKED
from quantlevels.schemes.scaled import PACKINGS as SCALED

_SCALE_BITS = 16
#: (data type, bits) → level, for those that are not integers in groups
_FORMATS = {
    ("mx_fp", 4): "MXFP4",
    ("mx_fp", 6): "MXFP6_E2M3",
    ("mx_fp", 8): "MXFP8_E4M3",
    ("mx_int", 8): "MXINT8",
    ("nv_fp", 4): "NVFP4",
    ("nvfp4_v2", 4): "NVFP4",
    ("fp", 8): "Float8E4M3FN",
}


@frozen(kw_only=True)
class Overrides:
    """What ``extra_config`` changes for some layers."""

    bits: int | None = None
    group_size: int | None = field(default=None, validator=sizes)
    sym: bool | None = None
    data_type: str | None = None


@frozen(kw_only=True)
class AutoRoundConfig(MethodConfig):
    """A ``quantization_config`` of method auto-round; defaults are transformers'."""

    bits: int = field(default=4, validator=one_of(2, 3, 4, 5, 6, 7, 8, 16))
    group_size: int = field(default=128, validator=sizes)
    sym: bool = True
    data_type: str = "int"
    #: layer, by name or regular expression → other settings
    extra_config: Mapping[str, Overrides] | None = None

    def general(self) -> DeclaredLevel | None:
        """Integers with a 16-bit scale and a packed zero point a group, or a microscaling level."""
        if self.bits > 8:
            return None
        data_type = self.data_type.removesuffix("_rceil").removesuffix("_e8m0").removesuffix("_with_static_gs")
        if name := _FORMATS.get((data_type, self.bits)):
            return declared_as(name)
        return declared_integer(self.bits, self.group_size, self.sym, side_bits=_SCALE_BITS + self.bits)

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers of ``extra_config``; as AutoRound does, a name that is none is a regular expression."""
        own = {name: self._with(changes) for name, changes in (self.extra_config or {}).items()}
        return {f"re:{name}" if set(name) & set("*\\[(^$|+") else name: level for name, level in own.items()}

    def _with(self, changes: Overrides) -> DeclaredLevel | None:
        return evolve(
            self,
            bits=changes.bits or self.bits,
            group_size=changes.group_size or self.group_size,
            sym=self.sym if changes.sym is None else changes.sym,
            data_type=changes.data_type or self.data_type,
        ).general()


SCHEMES = (
    Scheme(
        method="auto-round",
        config=AutoRoundConfig,
        packings=(GPTQ_PACKED, GEMM, PACKED, *SCALED),
        aliases=("intel/auto-round", "auto_round"),
    ),
)
