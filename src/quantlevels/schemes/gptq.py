"""GPTQ: codes in words along the input dimension, zero points in words along the output dimension.

Source: gptqmodel 7.7.0, ``nn_modules/qlinear/__init__.py`` and ``quantization/config.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
    level_of_each,
    one_of,
    renamed,
    valid_group_size,
    words,
)
from quantlevels.schemes.common import AUTO_ROUND_KEYS

_SCALE_BITS = 16
_WIDTHS = (2, 3, 4, 5, 6, 7, 8)


def _fold(module: Module, hint: Hint) -> Weight:
    """qweight [K*b/32, N], scales [groups, N], qzeros [groups, N*b/32], g_idx [K]: K inputs, N outputs, b bits.

    Words may have another width than 32 bits; codes of 3 bits are packed without gaps.
    """
    qweight, scales = module["qweight"], module["scales"]
    (rows, columns), (groups, outputs) = qweight.matrix, scales.matrix
    if columns != outputs:
        raise TensorRuleError(f"scales has shape {list(scales.shape)}; expected [groups, rows] = [{groups}, {columns}]")
    qzeros, g_idx = module.get("qzeros"), module.get("g_idx")
    # tensors before the config: the length of either of these two gives the bits of a code
    if qzeros:
        bits = exact(qzeros.bits * qzeros.matrix[1], outputs, "bits of a zero point")
    elif g_idx:
        bits = exact(qweight.bits * rows, g_idx.elements, "bits of a code")
    elif hint.bits:
        bits = hint.bits
    else:
        raise LayoutError("bit width of the packed words is unknown: no qzeros, no g_idx, no config")
    # by bits, not by codes per word: a word holds 32/3 codes of 3 bits, not 10 (huggingface.js #2329)
    inputs = exact(qweight.bits * rows, bits, "codes of a column")
    return unpacked(module, bits, inputs, outputs, groups, hint)


def _fold_marlin(module: Module, hint: Hint) -> Weight:
    """Marlin's tiles: qweight [K/16, N*b/2], scales [groups, N], no zero points; K, N and b as in `_fold`."""
    (tiles, columns), (groups, outputs) = module["qweight"].matrix, module["scales"].matrix
    if "qzeros" in module or columns == outputs:  # the shape of plain GPTQ
        raise LayoutError("qweight does not have the shape of Marlin's tiles")
    return unpacked(module, exact(2 * columns, outputs, "bits of a code"), 16 * tiles, outputs, groups, hint)


def unpacked(module: Module, bits: int, inputs: int, outputs: int, groups: int, hint: Hint) -> Weight:
    """The weight in ``qweight``: integers of ``bits`` bits, ``groups`` groups per output.

    Raises:
        LayoutError: for integers of impossible width, or groups that do not tile the inputs.
    """
    qweight = module["qweight"]
    parameters = inputs * outputs * qweight.stack
    return Weight(
        level=integer(bits),
        parameters=parameters,
        code_bits=code_bits(qweight, parameters),
        group_size=group_size(inputs, groups, hint),
        # GPTQ stores zero points for symmetric weights too, all equal: only a config says that they have no meaning
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


#: what autoawq, gptqmodel, transformers and engines write about calibration, kernels and the order of columns
_IGNORED_KEYS = AUTO_ROUND_KEYS | words(
    "act_group_aware adapter auto_find_batch_size awq_gemm_version backend batch_size block_name_to_quantize "
    "cache_block_outputs calibration_data checkpoint_format compute_device damp damp_auto_increment damp_percent "
    "data_type dataset dense_vram_strategy dense_vram_strategy_devices desc_act device disable_exllama do_fuse "
    "exllama_config export_compatible fail_safe failsafe fallback foem format fuse_max_seq_len gc gptaq gptaq_alpha "
    "gptaq_memory_device gptqmodel_version hessian hyb_act is_marlin_format lm_head low_cpu_mem_usage "
    "mask_ovm_experts max_calib_samples max_calib_seq_len max_input_length meta mock_quantization "
    "model_file_base_name model_name_or_path model_seqlen module_name_preceding_first_block "
    "modules_in_block_to_quantize modules_to_fuse moe moe_vram_strategy moe_vram_strategy_devices mse "
    "n_parallel_calib_samples nsamples offload_to_disk offload_to_disk_path pack_dtype pack_impl pad_token_id "
    "parallel_packing preprocessors process quant_method quantizer rotation rtn static_groups sym tokenizer "
    "true_sequential use_cuda_fp16 use_exllama v2 v2_alpha v2_memory_device version vram_strategy "
    "wait_for_submodule_finalizers weight_only"
)


@frozen(kw_only=True, eq=False, repr=False)
class Override:
    """What ``dynamic`` changes for some modules."""

    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    bits: int | None = field(default=None, validator=optional(one_of(1, *_WIDTHS)))
    group_size: int | None = field(default=None, validator=valid_group_size)
    sym: bool | None = None
    format: str | None = None


@frozen(kw_only=True, eq=False, repr=False)
class DynamicConfig(MethodConfig):
    """A config of gptqmodel, for any of its methods."""

    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS
    overrides_inherit: ClassVar[bool] = True

    #: ``+:regex`` → other settings for the modules it matches; ``-:regex`` → not quantized. gptqmodel matches both from
    #: the start of a name, as ``re:`` does here
    dynamic: Mapping[str, Override | None] | None = None

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The modules that ``dynamic`` names."""
        quantized = {key: changes for key, changes in (self.dynamic or {}).items() if not key.startswith("-:")}
        levels = level_of_each(quantized, self._with)
        return {f"re:{key.removeprefix('+:').removeprefix('-:')}": levels.get(key) for key in self.dynamic or {}}

    def _with(self, changes: Override | None) -> DeclaredLevel | None:
        if changes is None:
            return self.general()
        known = fields_dict(type(self))  # `dynamic` may have settings of another method of gptqmodel
        changed = {key: value for key, value in asdict(changes).items() if value is not None and key in known}
        return evolve(self, **changed).general()

    def skipped(self) -> tuple[str, ...]:
        """The modules that ``dynamic`` leaves alone."""
        dynamic = (f"re:{key.removeprefix('-:')}" for key in self.dynamic or {} if key.startswith("-:"))
        return (*(self.modules_to_not_convert or ()), *dynamic)


@frozen(kw_only=True, eq=False, repr=False)
class GPTQConfig(DynamicConfig):
    """``quantize_config.json``, or a ``quantization_config`` of method gptq."""

    bits: int = field(validator=one_of(*_WIDTHS))
    group_size: int = field(default=128, validator=valid_group_size)  # the default of gptqmodel and transformers
    sym: bool = True
    checkpoint_format: str | None = None
    is_marlin_format: bool | None = None

    def general(self) -> DeclaredLevel:
        """Integers with a 16-bit scale and a packed zero point per group, even if symmetric; Marlin has only scales."""
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
        aliases=("gptq_marlin", "gptq_bitblas"),
        prepare=renamed(w_bit="bits", wbits="bits", q_group_size="group_size"),
    ),
)
