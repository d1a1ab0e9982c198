"""bitsandbytes: 4-bit codes of a table in any container type, or 8-bit rows (LLM.int8).

Source: bitsandbytes 0.50.2, ``functional.py`` ``QuantState``, and what it wrote; gptqmodel 7.7.0,
``nn_modules/qlinear/bitsandbytes.py``, which names the same tensors otherwise.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Literal

from attrs import field, frozen

from quantlevels.scheme import (
    FLOAT_TYPES,
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    LayoutError,
    Matrix,
    Module,
    Packing,
    Scheme,
    Storage,
    TensorRule,
    Weight,
    one_of,
    renamed,
    with_scales,
)
from quantlevels.schemes.common import declared_as
from quantlevels.schemes.gptq import DynamicConfig
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from attrs import Attribute

_LEVELS = {"nf4": "NF4", "fp4": "BNB_FP4"}
_BLOCK_SIZE = 64
_BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # those that bitsandbytes has kernels for
_NESTED_BLOCK_SIZE = 256  # scales that share a scale in double quantization (QLoRA, arXiv:2305.14314, section 3)
_STATE = "weight.quant_state.bitsandbytes__"


def _fold_4bit(module: Module, hint: Hint) -> Weight:
    """weight: two codes per byte, in any type and shape; weight.absmax: one scale per block, U8 if quantized."""
    if module["weight.absmax"].is_a("UInt8") and not module.keys() & {"weight.nested_absmax", "weight_nested_absmax"}:
        raise LayoutError("absmax is quantized to bytes, but nested_absmax is missing")
    # by bytes: `bnb_4bit_quant_storage` may have packed the codes into any type, BF16 for FSDP
    parameters = 2 * module["weight"].nbytes
    kinds = [level for kind, level in _LEVELS.items() if _STATE + kind in module]
    # only the name of the state shows which table the codes are of
    level = levels[kinds[0]] if kinds else hint.level
    if len(kinds) > 1 or level is None:
        raise AmbiguousLayoutError("can be NF4 or FP4 of bitsandbytes: no quant_state tensor or config says which")
    return Weight(
        level=level,
        parameters=parameters,
        code_bits=Fraction(4),
        group_size=_block_size(parameters, module["weight.absmax"].elements, hint),
    )


def _block_size(parameters: int, blocks: int, hint: Hint) -> int | None:
    """Weights of a block, the last of which may be short; None if there is only one block, which shows no size."""
    # from the tensors: the config of transformers does not say how long blocks are
    fits = [size for size in _BLOCK_SIZES if -(-parameters // size) == blocks]
    if not fits:
        raise LayoutError(f"{blocks:,} scales for {parameters:,} weights: no block size gives that")
    if len(fits) == 1:
        return fits[0]
    if hint.group_size in fits:
        return hint.group_size
    return None


def _fold_8bit(module: Module, hint: Hint) -> Weight:
    """weight I8 [N, K], SCB [N]: the largest value of each row."""
    codes = module["weight"]
    if not codes.is_a("Int8") or codes.shape[:1] != (module["SCB"].elements,):
        raise LayoutError(
            f"SCB has {module['SCB'].elements} scales beside {codes.dtype} {list(codes.shape)};"
            " expected one per row of Int8"
        )
    return Weight(
        level=levels["Int8"], parameters=codes.elements, code_bits=Fraction(8), symmetric=True, shape=codes.shape
    )


def _sides(prefix: str) -> tuple[TensorRule, ...]:
    """The tensors of 4-bit codes, whose names gptqmodel begins with ``weight_``."""
    return (
        TensorRule(f"{prefix}absmax", ("None", "UInt8", "BFloat16", "Float16"), "flat_groups", role="scale"),
        TensorRule(f"{prefix}quant_map", FLOAT_TYPES, "16", role="codebook"),
        TensorRule(f"{prefix}nested_absmax", FLOAT_TYPES, role="scale"),
        TensorRule(f"{prefix}nested_quant_map", FLOAT_TYPES, "256", role="codebook"),
        TensorRule(f"{prefix}quant_state", ("UInt8",)),
    )


def _state_bytes(matrix: Matrix) -> int:
    """The JSON that ``QuantState.as_dict`` writes."""
    # its length depends on the digits of the shape, and a predicted size is exact to the byte
    return len(
        f'{{"quant_type": "nf4", "blocksize": {matrix.group_size}, "dtype": "{matrix.source_dtype}", '
        f'"shape": [{matrix.rows}, {matrix.columns}]}}'
    )


_WEIGHT_FORMAT = TensorRule("weight_format", ("UInt8",), "1")
PACKINGS = (
    Packing(
        "weight",
        ("weight.absmax",),
        _fold_4bit,
        sides=(*_sides("weight."), *(TensorRule(_STATE + kind, ("UInt8",)) for kind in _LEVELS)),
    ),
    Packing(
        "weight", ("SCB",), _fold_8bit, sides=(TensorRule("SCB", FLOAT_TYPES, "rows", role="scale"), _WEIGHT_FORMAT)
    ),
    Packing(
        "weight",
        ("weight_absmax",),
        lambda module, hint: _fold_4bit({**module, "weight.absmax": module["weight_absmax"]}, hint),
        sides=_sides("weight_"),
    ),
    Packing(
        "weight",
        ("weight_scb",),
        lambda module, hint: _fold_8bit({**module, "SCB": module["weight_scb"]}, hint),
        sides=(TensorRule("weight_scb", FLOAT_TYPES, "rows", role="scale"),),
    ),
)
_STORAGE = (
    Storage(
        format="bitsandbytes-4bit",
        levels=("NF4", "BNB_FP4"),
        tensors=(
            TensorRule("weight", ("UInt8",), "packed_weights", role="codes"),
            TensorRule("weight.absmax", ("None",), "flat_groups", role="scale"),
            TensorRule("weight.quant_map", ("None",), "16", role="codebook"),
            TensorRule("weight.quant_state", nbytes=_state_bytes),
        ),
        group_size=_BLOCK_SIZE,
        source="bitsandbytes 0.50.2 QuantState.as_dict, without double quantization",
    ),
    Storage(
        format="bitsandbytes-8bit",
        levels=("Int8",),
        tensors=(
            TensorRule("weight", ("Int8",), "rows columns", role="codes"),
            TensorRule("SCB", ("None",), "rows", role="scale"),
            _WEIGHT_FORMAT,
        ),
        grouped=False,
        source="bitsandbytes 0.50.2 Linear8bitLt",
    ),
)


def _not_with_4bit(config: BitsAndBytesConfig, attribute: Attribute[bool], value: bool) -> None:
    if value and config.load_in_4bit:
        raise ValueError("load_in_4bit and load_in_8bit are both true")


@frozen(kw_only=True)
class BitsAndBytesConfig(DynamicConfig):
    """A ``quantization_config`` of method bitsandbytes; defaults are transformers'."""

    skip_keys: ClassVar[tuple[str, ...]] = ("llm_int8_skip_modules", "modules_to_not_convert")
    ignored_keys: ClassVar[frozenset[str]] = DynamicConfig.ignored_keys | {
        "bits",
        "bnb_4bit_compute_dtype",
        "bnb_4bit_quant_storage",
        "llm_int8_enable_fp32_cpu_offload",
        "llm_int8_has_fp16_weight",
        "llm_int8_threshold",
        "group_size",
        "sym",
    }

    load_in_4bit: bool = False
    load_in_8bit: bool = field(default=False, validator=_not_with_4bit)
    #: the default of bitsandbytes and transformers, although nearly every published model has NF4
    bnb_4bit_quant_type: Literal["fp4", "nf4"] = "fp4"
    bnb_4bit_use_double_quant: bool = False
    format: str | None = None
    block_size: int = field(default=_BLOCK_SIZE, validator=one_of(*_BLOCK_SIZES))

    def general(self) -> DeclaredLevel | None:
        """NF4 or FP4 in blocks with an F32 scale, or a quantized one; or 8-bit rows."""
        if self.load_in_8bit or self.format == "int8":
            return declared_as("Int8")
        if not (self.load_in_4bit or self.format in _LEVELS):
            return None
        bits = with_scales(4, self.block_size, 32)
        if self.bnb_4bit_use_double_quant:
            bits = with_scales(4, self.block_size, 8) + Fraction(32, self.block_size * _NESTED_BLOCK_SIZE)
        kind = self.format if self.format in _LEVELS else self.bnb_4bit_quant_type
        level = levels[_LEVELS[kind]]
        return DeclaredLevel(level=level, group_size=self.block_size, bits_per_weight=bits, usual_group=True)


SCHEMES = (
    Scheme(
        method="bitsandbytes",
        config=BitsAndBytesConfig,
        packings=PACKINGS,
        storage=_STORAGE,
        prepare=renamed(
            _load_in_4bit="load_in_4bit",
            _load_in_8bit="load_in_8bit",
            compress_statistics="bnb_4bit_use_double_quant",
        ),
    ),
)
