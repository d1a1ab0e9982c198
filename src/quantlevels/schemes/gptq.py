"""GPTQ: codes in words along the input dimension, zero points in words along the output dimension.

Source: gptqmodel 7.7.0, ``nn_modules/qlinear/__init__.py`` and ``quantization/config.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import asdict, evolve, field, fields_dict, frozen
from attrs.validators import optional

from quantlevels.scheme import (
    FLOAT_TYPES,
    INDEX_TYPES,
    WORD_TYPES,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    TensorRuleError,
    Weight,
    code_bits,
    declared_integer,
    exact,
    group_size,
    integer,
    one_of,
    renamed,
    valid_group_size,
)

_SCALE_BITS = 16
_WIDTHS = (2, 3, 4, 5, 6, 7, 8)


def _fold(module: Module, hint: Hint) -> Weight:
    """qweight [K*b/32, N], scales [groups, N], qzeros [groups, N*b/32], g_idx [K]; any word width, 3 bits dense."""
    qweight, scales = module["qweight"], module["scales"]
    (rows, columns), (groups, outputs) = qweight.matrix, scales.matrix
    if columns != outputs:
        raise TensorRuleError(f"scales has shape {list(scales.shape)}; expected [groups, rows] = [{groups}, {columns}]")
    if qzeros := module.get("qzeros"):
        bits = exact(qzeros.bits * qzeros.matrix[1], outputs, "bits of a zero point")
    elif g_idx := module.get("g_idx"):
        bits = exact(qweight.bits * rows, g_idx.elements, "bits of a code")
    elif hint.bits:
        bits = hint.bits
    else:
        raise LayoutError("neither zero points nor a config tell the bits of a code")
    inputs = exact(qweight.bits * rows, bits, "codes of a column")
    return unpacked(module, bits, inputs, outputs, groups, hint)


def _fold_marlin(module: Module, hint: Hint) -> Weight:
    """Marlin's tiles: qweight [K/16, N*b/2], scales [groups, N], no zero points."""
    (tiles, columns), (groups, outputs) = module["qweight"].matrix, module["scales"].matrix
    if "qzeros" in module or columns == outputs:
        raise LayoutError("not in Marlin's tiles")
    return unpacked(module, exact(2 * columns, outputs, "bits of a code"), 16 * tiles, outputs, groups, hint)


def unpacked(module: Module, bits: int, inputs: int, outputs: int, groups: int, hint: Hint) -> Weight:
    """The weight that ``qweight`` holds: integers of so many bits, so many groups for each output.

    Raises:
        LayoutError: if there are no integers of so many bits, or groups do not tile the inputs.
    """
    qweight = module["qweight"]
    parameters = inputs * outputs * qweight.stack
    return Weight(
        level=integer(bits),
        parameters=parameters,
        code_bits=code_bits(qweight, parameters),
        group_size=group_size(inputs, groups, hint),
        symmetric=hint.symmetric if "qzeros" in module else True,
        shape=(*qweight.shape[:-2], outputs, inputs),
    )


QWEIGHT = TensorRule("qweight", WORD_TYPES, "packed_columns rows", role="codes")
SCALES = TensorRule("scales", FLOAT_TYPES, "groups rows", role="scale")
QZEROS = TensorRule("qzeros", WORD_TYPES, "groups packed_rows", role="zero_point")
G_IDX = TensorRule("g_idx", INDEX_TYPES, "columns", role="index")
PACKED = Packing("qweight", ("scales",), _fold, sides=(SCALES, QZEROS, G_IDX))
MARLIN = Packing(
    "qweight",
    ("scales",),
    _fold_marlin,
    sides=(SCALES, evolve(G_IDX, shapes="0 | columns"), TensorRule("g_idx_sort_indices", role="index"), "workspace"),
)


@frozen(kw_only=True)
class Override:
    """What ``dynamic`` changes for some modules."""

    bits: int | None = field(default=None, validator=optional(one_of(1, *_WIDTHS)))
    group_size: int | None = field(default=None, validator=valid_group_size)
    sym: bool | None = None
    format: str | None = None


@frozen(kw_only=True)
class DynamicConfig(MethodConfig):
    """A config of gptqmodel, for any of its methods."""

    #: ``+:regex`` → other settings for the modules it matches; ``-:regex`` → not quantized
    dynamic: Mapping[str, Override | None] | None = None

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules that ``dynamic`` names."""
        return {
            f"re:{key.removeprefix('+:').removeprefix('-:')}": None if key.startswith("-:") else self._with(changes)
            for key, changes in (self.dynamic or {}).items()
        }

    def _with(self, changes: Override | None) -> DeclaredLevel | None:
        said = {} if changes is None else asdict(changes)
        known = fields_dict(type(self))
        return evolve(
            self, **{key: value for key, value in said.items() if value is not None and key in known}
        ).general()

    def skipped(self) -> tuple[str, ...]:
        """The modules that ``dynamic`` leaves alone."""
        own = (pattern for pattern, level in self.overrides().items() if level is None)
        return (*(self.modules_to_not_convert or ()), *own)


@frozen(kw_only=True)
class GPTQConfig(DynamicConfig):
    """``quantize_config.json``, or a ``quantization_config`` of method gptq."""

    bits: int = field(validator=one_of(*_WIDTHS))
    group_size: int = field(default=128, validator=valid_group_size)  # what gptqmodel and transformers take it for
    sym: bool = True
    checkpoint_format: str | None = None
    is_marlin_format: bool | None = None

    def general(self) -> DeclaredLevel:
        """Integers with a 16-bit scale and a packed zero point a group, even if symmetric; but for Marlin's tiles."""
        zero_bits = 0 if self.is_marlin_format or self.checkpoint_format == "marlin" else self.bits
        return declared_integer(self.bits, self.group_size, self.sym, side_bits=_SCALE_BITS + zero_bits)


SCHEMES = (
    Scheme(
        method="gptq",
        config=GPTQConfig,
        packings=(PACKED, MARLIN),
        storage=(
            Storage(
                format="gptq",
                levels=tuple(f"Int{bits}" for bits in _WIDTHS),
                tensors=(QWEIGHT, QZEROS, SCALES, G_IDX),
                zero_point="always",
                source="gptqmodel 7.7.0 GPTQQuantLinear._register_gptq_buffers",
            ),
        ),
        prepare=renamed(w_bit="bits", wbits="bits", q_group_size="group_size"),
    ),
)
