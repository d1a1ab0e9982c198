"""VPTQ: vectors of weights as indices into centroids, with residual centroids after them.

Shapes do not give the weights back: the config names the features of each layer, or says at least the length of a
vector, as that of gptqmodel does for all layers.

Source: vptq 0.0.5, ``layers/vqlinear.py``; gptqmodel 7.7.0, ``quantization/config.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import optional

from quantlevels.scheme import (
    FLOAT_TYPES,
    INDEX_TYPES,
    AmbiguousLayoutError,
    DeclaredLevel,
    Hint,
    LayoutError,
    MethodConfig,
    Module,
    Packing,
    Scheme,
    TensorRule,
    Weight,
    exact,
    level_of_each,
    within,
    words,
)
from quantlevels.schemes.common import codebook_level
from quantlevels.schemes.gptq import DynamicConfig

if TYPE_CHECKING:
    from attrs import Attribute

_OFF = -1  # how VPTQ writes that a layer has no outliers, or no residual
_MOST = 2**31


def _fold(module: Module, hint: Hint) -> Weight:
    """indices [groups, N/v, words], centroids.weight [groups, k*v], perm and weight_scale [K]."""
    if hint.level is None or not hint.group_size or hint.group_size < 1:
        raise AmbiguousLayoutError("vector length of the indices is unknown: no config")
    features = module.get("weight_scale") or module.get("perm")
    vectors = module["indices"].matrix[0]
    columns = features.elements if features else _columns(module, hint.group_size)
    if not columns:
        raise LayoutError("weight_scale or perm has no elements")
    parameters = vectors * hint.group_size * columns
    declared = hint.parameters
    # the last vector may reach past the last row: then fewer weights are declared than the indices give
    if declared:
        if declared % columns or not vectors - 1 < Fraction(declared, columns * hint.group_size) <= vectors:
            raise LayoutError(
                f"{vectors} x {columns} vectors of {hint.group_size} weights cannot hold exactly {declared:,} weights"
            )
        parameters = declared
    bits = Fraction(hint.level.bits_per_param)
    return Weight(level=hint.level, parameters=parameters, code_bits=bits, group_size=hint.group_size)


def _columns(module: Module, length: int) -> int:
    """Vectors in the rows of all groups, from the words of their indices."""
    indices = module["indices"]
    counts = [module[name].matrix[1] // length for name in _CENTROIDS if name in module]
    bits = sum((count - 1).bit_length() for count in counts if count)
    return exact(indices.bits * indices.matrix[1], bits, "indices of a row") * indices.stack


_CENTROIDS = ("centroids.weight", "res_centroids.weight")
_SIDES = (
    *(TensorRule(f"{kind}centroids.weight", FLOAT_TYPES, role="codebook") for kind in ("", "res_", "outlier_")),
    *(TensorRule(f"{kind}indices", INDEX_TYPES, role="codes") for kind in ("res_", "outlier_")),
    TensorRule("weight_scale", FLOAT_TYPES, role="scale"),
    TensorRule("weight_bias", FLOAT_TYPES, role="correction"),
    TensorRule("perm", INDEX_TYPES, role="index"),
)
PACKING = Packing("indices", ("centroids.weight",), _fold, sides=_SIDES)


def _of_the_rest(least: int) -> Callable[[object, Attribute[tuple[int, int]], tuple[int, int]], None]:
    """A validator for the second of a pair."""

    def check(config: object, attribute: Attribute[tuple[int, int]], pair: tuple[int, int]) -> None:
        if not least <= pair[1] <= _MOST:
            raise ValueError(
                f"{attribute.name} must be at least {least} for weights that are not outliers, not {pair[1]}"
            )

    return check


_IGNORED_KEYS = DynamicConfig.ignored_keys | words(
    "bias bits block_size enable_norm enable_perm enable_proxy_error format group_num group_size indices_as_float "
    "is_indice_packed kmeans_iters kmeans_mode kmeans_seed kmeans_tol norm_dim npercent outlier_size percdamp "
    "vector_quant_dim"
)


@frozen(kw_only=True, eq=False, repr=False)
class VPTQLayer:
    """The settings of one layer; of each pair, the first is for outliers, the second for all other weights."""

    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    vector_lens: tuple[int, int] = field(validator=_of_the_rest(1))
    num_centroids: tuple[int, int] = field(validator=_of_the_rest(2))
    num_res_centroids: tuple[int, int] = field(default=(_OFF, _OFF), validator=_of_the_rest(_OFF))
    in_features: int | None = field(default=None, validator=optional(within(1, _MOST)))
    out_features: int | None = field(default=None, validator=optional(within(1, _MOST)))

    def declared(self) -> DeclaredLevel:
        """The bits of an index and its residual over the vector."""
        index_bits = sum(
            (count - 1).bit_length() for count in (self.num_centroids[1], self.num_res_centroids[1]) if count > 0
        )
        bits = Fraction(index_bits, self.vector_lens[1])
        parameters = None
        if self.in_features and self.out_features:
            parameters = self.in_features * self.out_features
        return DeclaredLevel(
            level=codebook_level("VPTQ", bits),
            group_size=self.vector_lens[1],
            bits_per_weight=bits,
            parameters=parameters,
        )


@frozen(kw_only=True, eq=False, repr=False)
class VPTQConfig(MethodConfig):
    """A ``quantization_config`` of method vptq."""

    ignored_keys: ClassVar[frozenset[str]] = _IGNORED_KEYS

    vector_lens: tuple[int, int] | None = None
    num_centroids: tuple[int, int] | None = None
    num_res_centroids: tuple[int, int] = (_OFF, _OFF)
    config_for_layers: Mapping[str, VPTQLayer] = field(factory=dict)
    shared_layer_config: Mapping[str, VPTQLayer] = field(factory=dict)

    def general(self) -> DeclaredLevel | None:
        """The settings of all layers; None if every layer has its own."""
        if self.vector_lens is None or self.num_centroids is None:
            return None
        return VPTQLayer(
            vector_lens=self.vector_lens,
            num_centroids=self.num_centroids,
            num_res_centroids=self.num_res_centroids,
        ).declared()

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """The layers by name, and those that share settings by the last parts of their names."""
        shared = {f"*{name}": layer for name, layer in self.shared_layer_config.items()}
        return level_of_each(shared | {**self.config_for_layers}, VPTQLayer.declared)


SCHEMES = (Scheme(method="vptq", config=VPTQConfig, packings=(PACKING,)),)
