"""KTransformers: experts repacked for the matrix units of CPUs, one tensor of bytes per part of the machine.

The bytes are in the order of a kernel and flat, so their width is the config's to say. AWQ experts keep their words.

Source: ktransformers at 95009ea, ``kt-kernel/scripts/convert_cpu_weights.py``, ``operators/amx/la/amx_buffers.hpp``,
``python/cli/commands/model.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, Final

from attrs import frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    TensorRuleError,
    UnknownTypeError,
    Weight,
    declared_integer,
    exact,
    group_size,
    integer,
    unwrapped,
    words,
)
from quantlevels.vocabulary.level import BITS_PER_BYTE

#: under the names of llama.cpp, with numbers of the expert and of the part of the machine after them
_EXPERTS: Final = "*_exps.*"
#: method → bits of its codes, and whether they have zero points
_METHODS: Final = {
    **dict.fromkeys(("int4", "moe_int4", "amxint4"), (4, True)),
    **dict.fromkeys(("int8", "moe_int8", "amxint8"), (8, True)),
    "awq": (4, False),
}
_NARROW: Final = 4


def _fold_bytes(module: Module, hint: Hint) -> Weight | None:
    """weight I8 of N*K*b/8 bytes, scale F32 [N]."""
    codes, scale = module["weight"], module["scale"]
    if not codes.is_a("Int8") or len(codes.shape) != 1 or len(scale.shape) != 1:
        return None
    if hint.level is None:
        wide, narrow = codes.elements, codes.elements * BITS_PER_BYTE // _NARROW
        raise AmbiguousLayoutError(f"can be {wide:,} weights of INT8 or {narrow:,} of INT4, and no config says which")
    rows, bits = scale.elements, hint.level.bits_per_param
    columns, rest = divmod(BITS_PER_BYTE * codes.elements, bits * rows)
    if rest:
        raise TensorRuleError(
            f"scale has shape {list(scale.shape)}; {codes.elements:,} bytes cannot be cut into so many rows"
        )
    return Weight(
        level=hint.level,
        parameters=rows * columns,
        code_bits=Fraction(bits),
        symmetric=True,
        shape=(rows, columns),
    )


def _fold_awq(module: Module, hint: Hint) -> Weight | None:
    """weight I32 [N, K*b/32], qzeros I32 [K/g, N*b/32], scale [N*K/g]."""
    words, zeros, scale = module["weight"], module["qzeros"], module["scale"]
    if not words.is_a("Int32"):
        return None
    rows, groups = words.matrix[0], zeros.matrix[0]
    bits = exact(zeros.bits * zeros.matrix[1], rows, "bits of a zero point")
    columns = exact(words.bits * words.matrix[1], bits, "codes of a row")
    exact(scale.elements, rows * groups, "a scale for each group")
    return Weight(
        level=integer(bits),
        parameters=rows * columns,
        code_bits=Fraction(bits),
        group_size=group_size(columns, groups, hint),
        symmetric=False,
        shape=(rows, columns),
    )


_AWQ: Final = Packing(
    "weight",
    ("scale", "qzeros"),
    _fold_awq,
    (
        TensorRule("scale", FLOAT_TYPES, "flat_groups", role="scale"),
        TensorRule("qzeros", ("Int32",), "groups packed_rows", role="zero_point"),
    ),
)
_BYTES: Final = Packing("weight", ("scale",), _fold_bytes, (TensorRule("scale", ("None",), "rows", role="scale"),))


@frozen(kw_only=True, eq=False, repr=False)
class KTransformersConfig(MethodConfig):
    """``amx_quantization`` of a config.json."""

    ignored_keys: ClassVar[frozenset[str]] = words("numa_count")

    method: str | None = None
    converted: bool = False

    def general(self) -> None:
        """Nothing: only experts are repacked, the rest stays as the config of the model declares it."""

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The experts.

        Raises:
            UnknownTypeError: for a method that KTransformers does not have.
        """
        if not self.converted or self.method is None:  # to be repacked when the model is loaded
            return {}
        known = _METHODS.get(self.method.lower())
        if known is None:
            raise UnknownTypeError(f"method {self.method!r:.80} is not known; known are {', '.join(_METHODS)}")
        bits, symmetric = known
        return {_EXPERTS: declared_integer(bits, None, symmetric)}


_STORAGE: Final = Storage(
    format="ktransformers",
    levels=("Int4", "Int8"),
    tensors=(
        TensorRule("weight", ("Int8",), "packed_weights", role="codes"),
        TensorRule("scale", ("None",), "rows", role="scale"),
    ),
    grouped=False,
    source="ktransformers at 95009ea, kt-kernel/operators/amx/la/amx_buffers.hpp",
)

SCHEMES = (
    Scheme(
        method="ktransformers",
        config=KTransformersConfig,
        storage=(_STORAGE,),
        packings=(_AWQ, _BYTES),
        prepare=unwrapped("amx_quantization"),
    ),
)
