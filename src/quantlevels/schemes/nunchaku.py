"""SVDQuant, as nunchaku and diffusers store it: 4-bit codes of what a low-rank branch leaves, and AWQ beside them.

A linear layer keeps ``qweight``, its scales, a smoothing factor for its inputs and two low-rank matrices; only the
codes are parameters of the model. The layers that modulate others are quantized by AWQ instead, four rows in a word.

Source: nunchaku at 92e4695, ``models/linear.py``, ``utils.py``, ``merge_safetensors.py``; diffusers at 58eb52c,
``quantizers/nunchaku/utils.py`` and ``quantizers/quantization_config.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import chain
from typing import ClassVar, Final, Literal

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    UnknownTypeError,
    Weight,
    declared_integer,
    exact,
    integer,
    valid_group_size,
    words,
)
from quantlevels.schemes.common import check_low_rank, declared_as
from quantlevels.vocabulary.registry import levels

_BITS: Final = 4
_CODES_PER_BYTE: Final = 2
_ROWS_PER_WORD: Final = 4
_GROUP_SIZE: Final = 64
#: Scales, and for AWQ zero points, of 16 bits each.
_SCALE_BITS: Final = 16
#: The layers that nunchaku quantizes by AWQ, whatever the metadata declares for the others.
_MODULATION: Final = ("*norm*.linear", "*.img_mod.1", "*.txt_mod.1")

#: Of the low-rank branch, by the first names and those of today: the matrix of the outputs, that of the inputs.
_LOW_RANK_NAMES: Final = (("proj_up", "proj_down"), ("lora_up", "lora_down"))
_LOW_RANK: Final = tuple(
    TensorRule(name, FLOAT_TYPES, role="correction") for name in chain.from_iterable(_LOW_RANK_NAMES)
)
_SMOOTHING: Final = tuple(
    TensorRule(name, FLOAT_TYPES, "columns", role="correction")
    for name in ("smooth_factor", "smooth_factor_orig", "smooth", "smooth_orig")
)


def _fold_svdquant(module: Module, hint: Hint) -> Weight | None:
    """qweight I8 [N, K/2]; wscales FP8 [K/16, N] for NVFP4, floats of 16 bits [K/g, N] for INT4."""
    codes, scales = module["qweight"], module["wscales"]
    names_of_nunchaku = {rule.name for rule in (*_SMOOTHING, *_LOW_RANK)}
    if not codes.is_a("Int8") or not (hint.level or names_of_nunchaku & module.keys()):
        return None  # bytes beside scales alone may be anything
    rows, columns = codes.matrix[0], _CODES_PER_BYTE * codes.matrix[1]
    group = exact(columns, scales.matrix[0], "scale groups do not tile a row")
    level = levels["NVFP4"] if scales.is_a("Float8E4M3FN") else integer(_BITS)
    for up, down in _LOW_RANK_NAMES:
        if up in module and down in module:
            check_low_rank(module[up], module[down], rows, columns)
    if level.name == "NVFP4" and group != level.block.weights:
        raise LayoutError(f"FP8 scales for groups of {group}; NVFP4 has groups of {level.block.weights}")
    return Weight(
        level=level,
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=group,
        symmetric=True,
        shape=(rows, columns),
    )


def _fold_awq(module: Module, hint: Hint) -> Weight:
    """qweight I32 [N/4, K/2], eight codes each; wscales and wzeros [K/g, N]."""
    words, scales = module["qweight"], module["wscales"]
    if not words.is_a("Int32"):
        raise LayoutError(f"wzeros beside codes in {words.dtype}; expected words of four rows each")
    rows, columns = _ROWS_PER_WORD * words.matrix[0], _CODES_PER_BYTE * words.matrix[1]
    return Weight(
        level=integer(_BITS),
        parameters=rows * columns,
        code_bits=Fraction(_BITS),
        group_size=exact(columns, scales.matrix[0], "scale groups do not tile a row"),
        symmetric=False,
        shape=(rows, columns),
    )


AWQ: Final = Packing(
    "qweight",
    ("wscales", "wzeros"),
    _fold_awq,
    (
        TensorRule("wscales", FLOAT_TYPES, "groups rows", role="scale"),
        TensorRule("wzeros", FLOAT_TYPES, "groups rows", role="zero_point"),
    ),
)
SVDQUANT: Final = Packing(
    "qweight",
    ("wscales",),
    _fold_svdquant,
    (
        TensorRule("wscales", (*FLOAT_TYPES, "Float8E4M3FN"), "groups rows", role="scale"),
        TensorRule("wcscales", (*FLOAT_TYPES, "Float8E4M3FN"), "rows", role="scale"),
        TensorRule("wtscale", FLOAT_TYPES, "1", role="scale"),
        *_SMOOTHING,
        *_LOW_RANK,
    ),
)


def declared_awq(group_size: int) -> DeclaredLevel:
    """Unsigned codes with a scale and a zero point of 16 bits per group."""
    return declared_integer(_BITS, group_size, False, side_bits=2 * _SCALE_BITS)


def declared_svdquant(group_size: int) -> DeclaredLevel:
    """Signed codes with a scale of 16 bits per group; the low-rank branch comes on top."""
    return declared_integer(_BITS, group_size, True, side_bits=_SCALE_BITS)


@frozen(kw_only=True, eq=False, repr=False)
class SVDQuantWeights:
    """The quantization of weights that the metadata of a file declares."""

    ignored_keys: ClassVar[frozenset[str]] = words("scale_dtype")

    dtype: str
    group_size: int | None = field(default=_GROUP_SIZE, validator=valid_group_size)

    def declared(self) -> DeclaredLevel:
        """NVFP4, or signed integers in groups.

        Raises:
            UnknownTypeError: for another type.
        """
        if self.dtype == "fp4_e2m1_all":
            return declared_as("NVFP4")
        if self.dtype == "int4":
            return declared_svdquant(self.group_size or _GROUP_SIZE)
        raise UnknownTypeError(f"weight.dtype {self.dtype!r:.80} is not known")


@frozen(kw_only=True, eq=False, repr=False)
class SVDQuantConfig(MethodConfig):
    """The ``quantization_config`` that nunchaku writes into the metadata of its files."""

    ignored_keys: ClassVar[frozenset[str]] = words("activation rank")

    weight: SVDQuantWeights

    def general(self) -> DeclaredLevel:
        """The level of all linear layers but those that modulate."""
        return self.weight.declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers that modulate, which the code of each model quantizes by AWQ."""
        return dict.fromkeys(_MODULATION, declared_awq(_GROUP_SIZE))


@frozen(kw_only=True, eq=False, repr=False)
class Targets:
    """The layers that one of the two methods quantizes."""

    ignored_keys: ClassVar[frozenset[str]] = words("rank")

    precision: Literal["int4", "nvfp4"]
    group_size: int = field(default=_GROUP_SIZE, validator=valid_group_size)
    targets: tuple[str, ...] = ()


@frozen(kw_only=True, eq=False, repr=False)
class NunchakuLiteConfig(MethodConfig):
    """A ``quantization_config`` of method nunchaku_lite, which names every layer it quantizes."""

    ignored_keys: ClassVar[frozenset[str]] = words("compute_dtype")

    svdq_w4a4: Targets | None = None
    awq_w4a16: Targets | None = None

    def general(self) -> None:
        """Nothing: layers that are not named are not quantized."""

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The named layers."""
        declared: dict[str, DeclaredLevel | None] = {}
        awq, svdquant = self.awq_w4a16, self.svdq_w4a4
        if awq:
            declared |= dict.fromkeys(awq.targets, declared_awq(awq.group_size))
        if svdquant:
            is_nvfp4 = svdquant.precision == "nvfp4"
            level = declared_as("NVFP4") if is_nvfp4 else declared_svdquant(svdquant.group_size)
            declared |= dict.fromkeys(svdquant.targets, level)
        return declared


#: Ranks that nunchaku publishes are 32 and 128; the first is its default.
_RANK: Final = 32
_BFLOAT: Final = ("BFloat16", "Float16", "None")
_LINEAR: Final = (
    TensorRule("qweight", ("Int8",), "rows packed_columns", role="codes"),
    TensorRule("smooth_factor", _BFLOAT, "columns", role="correction"),
    TensorRule("smooth_factor_orig", _BFLOAT, "columns", role="correction"),
    TensorRule("proj_down", _BFLOAT, f"columns {_RANK}", role="correction"),
    TensorRule("proj_up", _BFLOAT, f"rows {_RANK}", role="correction"),
)
_SOURCE: Final = f"nunchaku at 92e4695, models/linear.py SVDQW4A4Linear, with low-rank matrices of rank {_RANK}"
_STORAGE: Final = (
    Storage(
        format="svdquant",
        levels=("Int4",),
        tensors=(*_LINEAR, TensorRule("wscales", _BFLOAT, "groups rows", role="scale")),
        group_size=_GROUP_SIZE,
        grouped=False,
        ragged="refuses",
        source=_SOURCE,
    ),
    Storage(
        format="svdquant",
        levels=("NVFP4",),
        tensors=(
            *_LINEAR,
            TensorRule("wscales", ("Float8E4M3FN",), "groups rows", role="scale"),
            TensorRule("wcscales", _BFLOAT, "rows", role="scale"),
            TensorRule("wtscale", _BFLOAT, "1", role="scale"),
        ),
        grouped=False,
        ragged="refuses",
        source=_SOURCE,
    ),
)

SCHEMES = (
    Scheme(
        method="svdquant",
        config=SVDQuantConfig,
        packings=(AWQ, SVDQUANT),
        aliases=("nunchaku",),
        storage=_STORAGE,
    ),
    Scheme(method="nunchaku_lite", config=NunchakuLiteConfig, packings=(AWQ, SVDQUANT)),
)
