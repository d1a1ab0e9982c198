"""AWQ: codes in words along the output dimension (gemm), or along the input dimension row by row (gemv).

Source: autoawq 0.2.9, ``modules/linear/{gemm,gemv,gemv_fast,marlin}.py`` and ``models/_config.py``.
"""

from __future__ import annotations

from attrs import field, frozen

from quantlevels.schemes.base import (
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    Weight,
    code_bits,
    declared_integer,
    exact,
    group_size,
    integer,
    one_of,
    renamed,
    sizes,
)
from quantlevels.schemes.gptq import MARLIN

_SCALE_BITS = 16


def _fold_gemm(module: Module, hint: Hint) -> Weight:
    """qweight [K, N*b/32], qzeros [groups, N*b/32], scales [groups, N]."""
    (inputs, columns), (groups, outputs) = module["qweight"].matrix, module["scales"].matrix
    if module["qzeros"].matrix != (groups, columns):
        raise LayoutError("zero points are not packed as the codes are")
    bits = exact(module["qweight"].bits * columns, outputs, "bits of a code")
    return _weight(module, bits, inputs, outputs, groups, hint)


def _fold_gemv(module: Module, hint: Hint) -> Weight:
    """qweight [N, K*b/32], qzeros [N, padded], scales [N, padded]: padding hides the number of groups."""
    outputs, columns = module["qweight"].matrix
    if not outputs == module["scales"].matrix[0] == module["qzeros"].matrix[0]:
        raise LayoutError("codes, scales and zero points do not have the same rows")
    bits = hint.bits or 4  # gemv kernels know no other width
    inputs = exact(module["qweight"].bits * columns, bits, "codes of a row")
    known = hint.group_size if hint.group_size and hint.group_size > 0 else None
    return _weight(module, bits, inputs, outputs, -(-inputs // known) if known else 1, hint)


def _fold_gemv_fast(module: Module, hint: Hint) -> Weight:
    """qweight I16 [N/4, K], four 4-bit codes each; scales and 16-bit zero points [padded groups, N]."""
    rows, inputs = module["qweight"].matrix
    outputs = module["scales"].matrix[1]
    if not module["qweight"].is_a("Int16") or 4 * rows != outputs:
        raise LayoutError("not four rows of 4-bit codes in 16-bit words")
    known = hint.group_size if hint.group_size and hint.group_size > 0 else None
    return _weight(module, 4, inputs, outputs, -(-inputs // known) if known else 1, hint)


def _weight(module: Module, bits: int, inputs: int, outputs: int, groups: int, hint: Hint) -> Weight:
    qweight = module["qweight"]
    parameters = inputs * outputs * qweight.stack
    return Weight(
        level=integer(bits),
        parameters=parameters,
        code_bits=code_bits(qweight, parameters),
        group_size=group_size(inputs, groups, hint),
        symmetric=hint.symmetric,
    )


_TENSORS = ("scales", "qzeros")
GEMM = Packing("qweight", _TENSORS, _fold_gemm)
GEMV = Packing("qweight", _TENSORS, _fold_gemv)
GEMV_FAST = Packing("qweight", _TENSORS, _fold_gemv_fast)


@frozen(kw_only=True)
class AWQConfig(MethodConfig):
    """``quant_config.json``, or a ``quantization_config`` of method awq."""

    bits: int = field(default=4, validator=one_of(2, 3, 4, 8))  # defaults: autoawq's and transformers'
    group_size: int = field(default=128, validator=sizes)
    zero_point: bool = True

    def general(self) -> DeclaredLevel:
        """Integers with a 16-bit scale and perhaps a packed zero point a group."""
        zero_bits = self.bits if self.zero_point else 0
        return declared_integer(self.bits, self.group_size, not self.zero_point, side_bits=_SCALE_BITS + zero_bits)


SCHEMES = (
    Scheme(
        method="awq",
        config=AWQConfig,
        packings=(GEMM, GEMV, GEMV_FAST, MARLIN),
        prepare=renamed(w_bit="bits", q_group_size="group_size"),
    ),
)
