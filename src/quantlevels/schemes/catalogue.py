"""Which module of this package has which method and which packing, so that a reader imports only those it needs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import import_module
from itertools import chain
from typing import Final, NamedTuple

from quantlevels.scheme import Packing, Scheme


class SchemeModule(NamedTuple):
    """A module with schemes, or with packings that several of them share.

    Args:
        name: of the module.
        methods: the names and aliases of its schemes.
        tensors: for each packing that the module defines, the suffixes of its codes and of the tensors it needs; not
            those of packings that are tried only if their method is declared.
    """

    name: str
    methods: frozenset[str]
    tensors: tuple[tuple[str, ...], ...]

    def schemes(self) -> tuple[Scheme, ...]:
        """Its schemes."""
        schemes: tuple[Scheme, ...] = getattr(self._module(), "SCHEMES", ())
        return schemes

    def packings(self) -> Iterator[Packing]:
        """The packings of its schemes, and those it shares with other modules."""
        for scheme in self.schemes():
            yield from scheme.packings
        yield from getattr(self._module(), "PACKINGS", ())

    def _module(self) -> object:
        return import_module(f"quantlevels.schemes.{self.name}")


def _row(name: str, methods: str = "", *tensors: str) -> SchemeModule:
    return SchemeModule(name, frozenset(methods.split()), tuple(tuple(names.split()) for names in tensors))


#: In the order in which packings are tried; a test compares the rows with the modules.
CATALOGUE: Final = (
    _row("gptq", "gptq gptq_marlin gptq_bitblas", "qweight scales"),
    _row("awq", "awq awq_marlin paroquant", "qweight scales qzeros"),
    _row("auto_round", "auto-round intel/auto-round inc"),
    _row(
        "bitsandbytes",
        "bitsandbytes",
        "weight weight.absmax",
        "weight SCB",
        "weight weight_absmax",
        "weight weight_scb",
    ),
    _row(
        "compressed_tensors",
        "compressed-tensors sparseml",
        "weight_packed weight_scale",
        "weight_packed scale_packed meta",
        "compressed bitmask",
    ),
    # before the packings that they share names with: theirs have more tensors
    _row("nunchaku", "svdquant nunchaku nunchaku_lite", "qweight wscales", "qweight wscales wzeros"),
    _row("ctranslate2", "ctranslate2", "weight weight_scale weight_zero", "weight weight_scale"),
    _row(
        "comfy",
        "comfy",
        "weight weight_s_rel weight_s_channel",
        "weight weight_scale weight_zeros",
        "weight weight_scale weight_zero",
        "weight weight_scale proj_down",
        "weight weight_scale weight_proj_down",
    ),
    _row(
        "modelslim",
        "modelslim ascend",
        "weight deq_scale",
        "weight weight_scale weight_offset",
        "weight weight_scale weight_dual_scale",
        "weight weight_scale left_trans",
        "weight weight_scale svd_lowrank_l1",
    ),
    _row("sdnq", "sdnq sdnq_training", "weight scale zero_point", "weight scale svd_up"),
    _row("w4afp8", "w4afp8"),
    _row("minimax", "minimax_m3_nvfp4"),
    _row("humming", "humming", "weight weight_scale zero_point"),
    _row("marlin", "marlin gptq_marlin_24", "B s", "B_24 B_meta s"),
    _row("bitblas", "bitblas", "qweight scales zeros"),
    _row("qoq", "qoq", "qweight s1_scales"),
    _row("deepspeedfp", "deepspeedfp"),
    _row("bfl", "bfl"),
    _row("ktransformers", "ktransformers", "weight scale", "weight scale qzeros"),
    _row("mistral", "", "weight qscale_weight"),
    _row(
        "scaled",
        "",
        "weight weight_scale",
        "weight weight_scale_inv",
        "weight scale",
        "weight weight_scales",
        "weight scale_weight",
    ),
    _row(
        "fp8",
        "fp8 deepgemm_fp8 ptpc_fp8 fbgemm_fp8 w8a8_fp8 w8a8_int8 blockwise_int8 mxfp8 mxfp4 nvfp4",
        "blocks scales",
    ),
    _row("modelopt", "modelopt modelopt_fp4 modelopt_fp8 modelopt_mxfp8 modelopt_mixed"),
    _row("quark", "quark"),
    _row("torchao", "torchao", "_weight_qdata _weight_scale", "_weight_qdata _weight_scale_and_zero"),
    _row("quanto", "quanto", "weight._data._data weight._scale", "weight._data weight._scale"),
    _row("hqq", "hqq sinq", "W_q scale"),
    _row("mlx", "mlx metal", "weight scales", "weight scales biases", "weight scales qbiases"),
    _row("mlc", "mlc", "q_weight q_scale", "q_weight"),
    _row("aqlm", "aqlm", "codes codebooks scales"),
    _row("vptq", "vptq", "indices centroids.weight"),
    _row("exllama", "exl2 exl3", "q_weight q_invperm q_scale", "trellis"),
    _row("quip", "quip# quip_sharp quip", "Qidxs SU SV"),
    _row("spqr", "spqr", "dense_weights"),
    _row("higgs", "higgs", "weight scales tables"),
    _row("onnxruntime", "onnxruntime"),
    _row("nncf", "openvino nncf"),
    _row("bitnet", "bitnet"),
    _row("eetq", "eetq"),
    _row("gemma", "gemma"),
    _row("fp_quant", "fp_quant fouroversix", "qweight scales"),
    _row("squeezellm", "squeezellm", "qweight lookup_table"),
    _row("qqq", "qqq", "B s_channel"),
    _row("ggml", "gguf", "qweight", "weight weight.scale"),
)


@cache
def shipped_scheme(method: str) -> Scheme | None:
    """The scheme of this package for a ``quant_method`` in any case, with ``-`` or ``_``; None if it has none."""
    word = _normalized(method)
    for row in CATALOGUE:
        if any(_normalized(name) == word for name in row.methods):
            for scheme in row.schemes():
                if any(_normalized(name) == word for name in (scheme.method, *scheme.aliases)):
                    return scheme
    return None


def _normalized(method: str) -> str:
    # hyphens in compressed-tensors and auto-round, underscores in fbgemm_fp8: people write either
    return method.strip().lower().replace("_", "-")


@lru_cache(maxsize=1024)
def packings_for(suffixes: frozenset[str], explained: frozenset[str] = frozenset()) -> tuple[Packing, ...]:
    """The packings that a module with tensors of these suffixes may be in, each once, in the order they are tried in.

    Args:
        suffixes: of the tensors in the module.
        explained: suffixes of tensors that are no longer a question: packings with their codes in one are left out.
    """
    # by the table first, so that only modules are imported whose tensors are there
    rows = [row for row in CATALOGUE if any(_fits(tensors, suffixes, explained) for tensors in row.tensors)]
    found = dict.fromkeys(chain.from_iterable(row.packings() for row in rows))
    undeclared = (packing for packing in found if not packing.declared_only)
    return tuple(packing for packing in undeclared if _fits((packing.codes, *packing.needs), suffixes, explained))


def needs_of(codes: str) -> tuple[str, ...]:
    """The suffixes that stand beside codes of a name, in the first packing that has such codes."""
    for row in CATALOGUE:
        for first, *needs in row.tensors:
            if first == codes:
                return tuple(needs)
    return ()


def _fits(tensors: tuple[str, ...], suffixes: frozenset[str], explained: frozenset[str]) -> bool:
    return tensors[0] not in explained and suffixes.issuperset(tensors)
