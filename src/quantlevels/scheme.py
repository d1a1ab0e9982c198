"""The contract of a quantizer: how a scheme describes its config, the tensors it reads and those it stores.

A scheme is one `Scheme` record. Its ``config`` class reads the quantization section of a config file, its ``packings``
turn the tensors of a module back into one logical weight, and its ``storage`` predicts the tensors it would write.
Each tensor is described once, by a `TensorRule`: its name, the types and shapes it may have, and what it is for.

This module imports no registry of levels: a scheme gets its levels from ``quantlevels.levels`` or makes its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, TypeAlias, TypeVar, final, get_args

from attrs import Factory, field, frozen

from quantlevels.container import JSON, UnknownType
from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.level import BITS_PER_BYTE, QuantizationLevel

if TYPE_CHECKING:
    from attrs import Attribute


Config: TypeAlias = Mapping[str, JSON]

#: What a tensor of a module is for. Only ``weight`` and ``bias`` hold parameters.
Role: TypeAlias = Literal[
    "weight",  # a tensor that stands for itself: a norm, an unquantized matrix
    "codes",  # the packed weights of a quantized module
    "scale",  # multiplies codes, or other scales
    "zero_point",  # is subtracted from codes: integers, packed or not, or floats
    "codebook",  # the table that codes index
    "index",  # an order or a place: permutations, groups of columns, masks
    "correction",  # low-rank matrices, outliers, smoothing factors, rotations
    "activation",  # scales and zero points of activations or of the key-value cache
    "state",  # settings of a quantizer
    "bias",
]


@final
@frozen(kw_only=True)
class DeclaredLevel:
    """A level that a config says some or all of the quantized weights have.

    Args:
        level: the level of the codes.
        group_size: weights that share one scale along a row; -1 if the config says -1; None per row or per tensor.
        block: rows and columns of weights that share one scale, if scales are two-dimensional.
        symmetric: whether codes need no zero point; None if the config does not say.
        bits_per_weight: codes, scales and zero points a weight takes, exact, without per-row and per-tensor extras;
            None if unknown.
        targets: the modules it is for, as the config names them; None for all that are not named otherwise.
        usual_group: whether the group size is only the usual one: the config cannot say it, the tensors carry theirs.
        average: whether its width is the mean over weights that each have a width of their own (EXL2, EXL3).
        parameters: logical weights of each of its modules, if the config gives their number (VPTQ).
        alternative: what the method may give modules of its own choice instead, beside others at this level:
            embeddings, heads, sensitive layers (NNCF).
    """

    level: QuantizationLevel
    group_size: int | None = None
    block: tuple[int, int] | None = None
    symmetric: bool | None = None
    bits_per_weight: Fraction | None = None
    targets: tuple[str, ...] | None = None
    usual_group: bool = False
    average: bool = False
    parameters: int | None = None
    alternative: DeclaredLevel | None = None


class TensorInfo(NamedTuple):
    """A tensor of a module without its name: all that folding may depend on."""

    dtype: QuantizationLevel | UnknownType
    #: stored elements per axis
    shape: tuple[int, ...]
    nbytes: int

    @property
    def elements(self) -> int:
        """Stored elements."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of one stored element: 32 for the words of packed codes; 0 if its type is unknown."""
        return 0 if isinstance(self.dtype, UnknownType) else self.dtype.block.bits

    @property
    def matrix(self) -> tuple[int, int]:
        """The last two axes.

        Raises:
            LayoutError: if there are fewer.
        """
        if len(self.shape) < 2:
            raise LayoutError(f"expected a matrix, not a shape of {list(self.shape)}")
        return self.shape[-2], self.shape[-1]

    @property
    def stack(self) -> int:
        """How many matrices: the experts of a stacked weight."""
        return math.prod(self.shape[:-2])

    def is_a(self, *names: str) -> bool:
        """Whether an element is of one of these levels, by name."""
        return isinstance(self.dtype, QuantizationLevel) and self.dtype.name in names


#: suffix → tensor, for all tensors of one module: ``{"qweight": ..., "scales": ...}``
Module: TypeAlias = Mapping[str, TensorInfo]


@final
class Hint(NamedTuple):
    """What is known of a module from elsewhere: its config, or the other modules of the model.

    A hint may only choose between readings that shapes, dtypes and scale types leave open.

    Args:
        level: the declared level; None if nothing is declared.
        group_size: weights that share one scale along a row; -1 or None for one scale per row.
        symmetric: whether codes need no zero point; None if unknown.
        parameters: logical weights, if the config gives their number.
        block: rows and columns of weights that share one scale, if the config names them.
    """

    level: QuantizationLevel | None = None
    group_size: int | None = None
    symmetric: bool | None = None
    parameters: int | None = None
    block: tuple[int, int] | None = None

    @property
    def bits(self) -> int | None:
        """The declared nominal width in bits."""
        return self.level.bits_per_param if self.level else None


@final
class Weight(NamedTuple):
    """One logical weight, folded from the tensors of its module.

    Args:
        level: the level of its codes.
        parameters: logical weights.
        code_bits: storage bits per code, with what packing wastes: 8 for an int4 kept in a byte.
        group_size: weights that share one scale along a row; None per row, per tensor and for blocks in two dimensions.
        block: rows and columns that share one scale, if scales are two-dimensional.
        symmetric: whether the codes need no zero point; None if unknown or without meaning.
        shape: logical weights per axis, rows (outputs) and columns (inputs) last; empty if unknown. The rules of the
            packing's tensors are checked against it.
    """

    level: QuantizationLevel
    parameters: int
    code_bits: Fraction
    group_size: int | None = None
    block: tuple[int, int] | None = None
    symmetric: bool | None = None
    shape: tuple[int, ...] = ()


class LayoutError(Exception):
    """The tensors of a module do not fit the layout their names announce. Becomes a finding, never reaches a user."""


class TensorRuleError(LayoutError):
    """A tensor of a module has another type or shape than its rule allows."""


class AmbiguousLayoutError(Exception):
    """The tensors of a module fit several layouts equally well. Becomes a finding, never reaches a user."""


class UnknownTypeError(ValueError):
    """A config names a level by a word that its method does not have. Becomes a finding; what is stored is reported.

    `UnknownType` is about stored tensors instead: a storage type that stands for no known level.
    """


_Settings = TypeVar("_Settings")


class UnusableEntriesError(ValueError):
    """Some entries of a table that names modules cannot be used. Becomes a finding per entry; the others are kept.

    Args:
        levels: the level of each entry that can be used, and None for the others.
        errors: entry → what is wrong with it.
    """

    def __init__(self, levels: Mapping[str, DeclaredLevel | None], errors: Mapping[str, Exception]) -> None:
        super().__init__("; ".join(f"{entry}: {error}" for entry, error in errors.items()))
        self.levels = levels
        self.errors = errors


def level_of_each(
    table: Mapping[str, _Settings], declared: Callable[[_Settings], DeclaredLevel | None]
) -> dict[str, DeclaredLevel | None]:
    """The level of each entry of a table, so that one unknown word does not hide the entries beside it.

    Args:
        table: module name, glob or ``re:`` pattern → its settings.
        declared: settings → level.

    Raises:
        UnusableEntriesError: if ``declared`` raises LayoutError or ValueError for an entry.
    """
    found: dict[str, DeclaredLevel | None] = {}
    errors: dict[str, Exception] = {}
    # most entries are alike: one object for them, however many there are
    shared: dict[DeclaredLevel | None, DeclaredLevel | None] = {}
    for entry, settings in table.items():
        try:
            level = declared(settings)
            found[entry] = shared.setdefault(level, level)
        except (LayoutError, ValueError) as error:
            found[entry] = None
            errors[entry] = error
    if errors:
        raise UnusableEntriesError(found, errors)
    return found


#: The length of an axis of a tensor, in terms of the logical weight. ``rows`` are its outputs, ``columns`` its inputs,
#: ``groups`` the scales of one row, ``weights`` all its weights. ``packed_rows`` are the elements that hold, without
#: gaps, one code for each row, and so on; ``flat_groups`` the scales of all rows together; ``row_blocks`` and
#: ``column_blocks`` the scales of two-dimensional blocks.
AxisName: TypeAlias = Literal[
    "rows",
    "columns",
    "groups",
    "weights",
    "packed_rows",
    "packed_columns",
    "packed_weights",
    "flat_groups",
    "row_blocks",
    "column_blocks",
]
Axis: TypeAlias = AxisName | int
_AXIS_NAMES: Final = frozenset(get_args(AxisName))


@final
class Matrix(NamedTuple):
    """The logical weight that the shapes of its tensors are computed from.

    Args:
        rows, columns: outputs and inputs.
        bits: bits of one packed code.
        group_size: weights along a row that share a scale; None for one scale per row.
        block: rows and columns that share a scale.
        stack: the axes before rows and columns: experts.
        source_dtype: torch's name of the level it is quantized from (``bfloat16``).
    """

    rows: int
    columns: int
    bits: int
    group_size: int | None = None
    block: tuple[int, int] = (128, 128)
    stack: tuple[int, ...] = ()
    source_dtype: str = "bfloat16"

    def length(self, axis: Axis, element_bits: int, code_bits: int | None = None) -> int:
        """Number of elements along an axis, rounded up.

        Args:
            axis: a name of `AxisName`, or a fixed length.
            element_bits: bits of one element of the tensor, which hold whole codes along the ``packed_`` axes.
            code_bits: bits of one code; None for those of the matrix. Zero points may have others.
        """
        if isinstance(axis, int):
            return axis
        # a matrix without columns, or of an unknown type, must give a length that does not fit, not a division by zero
        group = self.group_size or self.columns or 1
        # a fraction: packed without gaps, a word of 32 bits holds 32/3 codes of 3 bits
        codes_per_element = Fraction(element_bits or 1, code_bits or self.bits or 1)
        lengths: dict[AxisName, tuple[int, int | Fraction]] = {
            "rows": (self.rows, 1),
            "columns": (self.columns, 1),
            "weights": (self.rows * self.columns, 1),
            "groups": (self.columns, group),
            "flat_groups": (self.rows * self.columns, group),
            "packed_rows": (self.rows, codes_per_element),
            "packed_columns": (self.columns, codes_per_element),
            "packed_weights": (self.rows * self.columns, codes_per_element),
            "row_blocks": (self.rows, self.block[0]),
            "column_blocks": (self.columns, self.block[1]),
        }
        count, unit = lengths[axis]
        return math.ceil(Fraction(count) / unit)


def _parsed_shapes(rule: TensorRule) -> tuple[tuple[Axis, ...], ...]:
    if not rule.shapes:  # "".split("|") would be one shape: that of a scalar
        return ()
    return tuple(tuple(_parsed_axis(word) for word in shape.split()) for shape in rule.shapes.split("|"))


def _parsed_axis(word: str) -> Any:  # Any: a Literal cannot be narrowed by membership of a set
    if word.isdecimal():
        return int(word)
    if word not in _AXIS_NAMES:
        raise ValueError(f"unknown axis {word!r}; known are {', '.join(sorted(_AXIS_NAMES))}")
    return word


@final
@frozen(eq=False, repr=False)
class TensorRule:
    """One tensor of a packing: its name, the types and shapes it may have, and what it is for.

    Args:
        name: its suffix in the module.
        dtypes: names of the levels its elements may have, the one that is usually written first; empty for any.
        shapes: the axes it may have, several shapes apart by ``|``: ``"groups rows"``, ``"1 | rows | rows groups"``.
            Empty for any. Axes of one element, and the axes of stacked experts before them, need not be named.
        role: what it is for.
        nbytes: computes its bytes, if they do not follow from a shape: a state saved as text.
    """

    name: str
    dtypes: tuple[str, ...] = ()
    shapes: str = ""
    role: Role = field(default="state", kw_only=True)
    nbytes: Callable[[Matrix], int] | None = field(default=None, kw_only=True)
    #: what ``shapes`` says, one tuple per shape
    axes: tuple[tuple[Axis, ...], ...] = field(
        init=False, eq=False, repr=False, default=Factory(_parsed_shapes, takes_self=True)
    )

    def __repr__(self) -> str:
        return f"<TensorRule {self.name}>"

    def check(self, tensor: TensorInfo, matrix: Matrix | None) -> None:
        """Refuse a tensor that cannot be this one.

        Args:
            tensor: what is stored.
            matrix: the logical weight of the module; None if its shape is unknown, then only types and fixed shapes are
                checked.

        Raises:
            TensorRuleError: with what was found and what was expected.
        """
        if self.dtypes and not tensor.is_a(*self.dtypes):
            kinds = " or ".join(dict.fromkeys(self.dtypes))
            raise TensorRuleError(f"{self.name} is {tensor.dtype} {list(tensor.shape)}; expected {kinds}")
        shapes = self._possible_shapes(tensor.bits, matrix)
        # stacked experts may share a tensor, such as one scale for all of them, or each have their own
        stacked = [(*matrix.stack, *shape) for shape in shapes] if matrix else shapes
        if shapes and _without_ones(tensor.shape) not in map(_without_ones, [*shapes, *stacked]):
            names = " or ".join(f"[{', '.join(map(str, axes))}]" for axes in self.axes)
            expected = " or ".join(str(list(shape)) for shape in stacked)
            raise TensorRuleError(f"{self.name} has shape {list(tensor.shape)}; expected {names} = {expected}")

    def _possible_shapes(self, element_bits: int, matrix: Matrix | None) -> list[tuple[int, ...]]:
        """The shapes it may have, without the axes of a stack; empty if any shape may be right."""
        if matrix:
            return [self.shape(matrix, element_bits, axes) for axes in self.axes]
        fixed = [tuple(axis for axis in axes if isinstance(axis, int)) for axes in self.axes]
        # one named axis among them has an unknown length, and then no shape can be called wrong
        return fixed if list(map(len, fixed)) == list(map(len, self.axes)) else []

    def shape(self, matrix: Matrix, element_bits: int, axes: tuple[Axis, ...]) -> tuple[int, ...]:
        """The lengths of axes for a weight, in elements of ``element_bits`` bits, without the axes of a stack."""
        return tuple(matrix.length(axis, element_bits) for axis in axes)


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    # tools differ in whether a scale per row is [rows], [rows, 1] or [1, rows], and in whether a scalar is [] or [1]
    return [length for length in shape if length != 1]


def _as_rules(rules: tuple[TensorRule | str, ...]) -> tuple[TensorRule, ...]:
    return tuple(TensorRule(rule) if isinstance(rule, str) else rule for rule in rules)


#: Names of the levels that scales usually have, and of all that a scale may have. "None" is the name of FP32. UInt8 is
#: E8M0 or E4M3 stored as plain bytes: gpt-oss, MLX and FP-Quant write scales so.
FLOAT_TYPES: Final = ("Float16", "BFloat16", "None")
SCALE_TYPES: Final = (*FLOAT_TYPES, "Float64", "Float8E4M3FN", "Float8E4M3FNUZ", "Float8E5M2", "Float8E8M0FNU", "UInt8")
#: Names of the levels of words that packed codes and zero points are kept in, and of indices.
WORD_TYPES: Final = ("Int32", "UInt32", "Int64", "Int16", "Int8", "UInt8")
INDEX_TYPES: Final = ("Int32", "Int64", "Int16", "UInt32", "UInt16", "UInt8")


def microscaling(level: QuantizationLevel, shape: tuple[int, ...]) -> Weight:
    """A weight of this logical shape whose scales are part of its level: one for each of the level's blocks."""
    return Weight(
        level=level,
        parameters=math.prod(shape),
        shape=shape,
        code_bits=Fraction(level.bits_per_param),
        group_size=level.block.weights,
        symmetric=True,
    )


#: The bias of a module: counted as parameters, its bytes with the module's weight.
BIAS: Final = TensorRule("bias", (), "rows", role="bias")


def _common(role: Role, dtypes: tuple[str, ...], names: str) -> Iterator[tuple[str, TensorRule]]:
    return ((name, TensorRule(name, dtypes, role=role)) for name in names.split())


#: Name → rule of the tensors that modules of any method may have beside their codes. Those of activations and of the
#: key-value cache also stand in modules without codes.
COMMON_SIDES: Final[dict[str, TensorRule]] = dict(
    [
        *_common(
            "activation",
            SCALE_TYPES,
            "input_scale output_scale q_scale k_scale v_scale prob_scale kv_scale act_scale activation_scale "
            "input_activation_scale output_activation_scale input_scale_2 output_scale_2 scale_input input_scale_inv "
            "input_global_scale act_global_scale kv_cache_scaling_factor kv_cache_scale",
        ),
        *_common(
            "activation",
            (),
            "input_zero_point output_zero_point q_zero_point k_zero_point v_zero_point prob_zero_point "
            "input_activation_zero_point output_activation_zero_point input_global_zero_point kv_cache_offset",
        ),
        *_common("correction", SCALE_TYPES, "pre_quant_scale"),
        *_common("scale", SCALE_TYPES, "weight_scale weight_scale_inv weight_scale_2 weight_global_scale scale_weight"),
        *_common("zero_point", (), "weight_zero_point weight_zero_point_2"),
        *_common("index", INDEX_TYPES, "weight_g_idx"),
        *_common("state", (), "weight_shape scaled_fp8 comfy_quant"),
    ]
)


@final
@frozen(eq=False, repr=False)
class Packing:
    """How a quantizer lays out one weight: which tensors it is made of, and how their shapes give it back.

    Args:
        codes: suffix of the tensor that holds the codes.
        needs: suffixes that must stand beside it.
        fold: (module, hint) → the weight; None if the tensors are not of this packing after all. Raises LayoutError if
            shapes do not fit, AmbiguousLayoutError if they leave open what the config does not say.
        sides: one rule per tensor that stands beside the codes, those of ``needs`` among them; a bare name is a
            tensor of any type and shape. None of them are parameters.
        declared_only: whether it is tried only for checkpoints that declare its method, since the names and types of
            its tensors are also those of other methods.
    """

    codes: str
    needs: tuple[str, ...]
    fold: Callable[[Module, Hint], Weight | None]
    sides: tuple[TensorRule, ...] = field(default=(), converter=_as_rules)
    declared_only: bool = field(default=False, kw_only=True)

    def __repr__(self) -> str:
        return f"<Packing {' + '.join((self.codes, *self.needs))}>"

    @property
    def suffixes(self) -> frozenset[str]:
        """The suffixes of all its tensors."""
        return frozenset((self.codes, *self.needs, *(rule.name for rule in self.sides)))

    @property
    def roles(self) -> dict[str, Role]:
        """Suffix → role of all tensors that may be part of such a weight, but its bias."""
        rules = {**COMMON_SIDES, **{rule.name: rule for rule in self.sides}}
        return {self.codes: "codes", **{name: rule.role for name, rule in rules.items() if name != self.codes}}

    def matches(self, module: Module) -> bool:
        """Whether a module has the tensors this packing needs."""
        return self.codes in module and all(side in module for side in self.needs)

    def weight(self, module: Module, hint: Hint) -> Weight | None:
        """The weight of a module that it matches, None if the tensors are not of this packing.

        Raises:
            LayoutError: if a tensor has no elements, or shapes or types do not fit.
            AmbiguousLayoutError: if shapes leave open what the config does not say.
        """
        # an empty tensor divides every shape, so each later check would pass on it
        if not all(module[suffix].elements for suffix in (self.codes, *self.needs)):
            raise LayoutError("the codes or a tensor that they need have no elements")
        weight = self.fold(module, hint)
        if weight:
            self._check_sides(module, weight)
        return weight

    def _check_sides(self, module: Module, weight: Weight) -> None:
        matrix = None
        if len(weight.shape) > 1:  # else the packing knows only the number of weights, not their rows and columns
            *stack, rows, columns = weight.shape
            bits = weight.level.bits_per_param
            matrix = Matrix(rows=rows, columns=columns, bits=bits, group_size=weight.group_size, stack=tuple(stack))
        rules = COMMON_SIDES | {rule.name: rule for rule in (BIAS, *self.sides)}
        for suffix in module.keys() & rules.keys():  # tensors without a rule are reported as unexplained elsewhere
            rules[suffix].check(module[suffix], matrix)
        # BIAS checks "rows" only if the shape of the weight is known; that they divide its weights must always hold
        bias = module.get("bias")
        if bias and bias.elements and weight.parameters % bias.elements:
            raise TensorRuleError(
                f"bias has {bias.elements:,} elements, which do not divide {weight.parameters:,} weights"
            )


#: What quantizers of linear layers leave alone, by the names of transformers and of llama.cpp: heads, embeddings,
#: norms, the routers of experts, convolutions.
NOT_LINEAR: Final = (
    *("lm_head", "*embed*", "*.wte", "*.wpe", "*norm*", "*.router", "*.gate", "*.shared_expert_gate", "*conv*"),
    *("output", "*_embd", "*.ffn_gate_inp*"),
)


@final
class Storage(NamedTuple):
    """How a scheme stores a matrix at some levels; ``size`` predicts checkpoints from it.

    Args:
        format: what the scheme calls this way of storing; its own name if it has no word for it.
        levels: names of the levels that are stored this way.
        tensors: all tensors of a module, the codes among them, each with its usual dtype first and one shape.
        source: where the rule comes from.
        group_size: weights that share a scale if the caller does not say; None for one scale per row.
        block: rows and columns that share a scale, if any tensor has an axis of blocks.
        keeps: globs of modules that stay unquantized unless the caller names them.
        zero_point: whether zero points are stored always, as the caller chooses, or never.
        grouped: whether the caller may choose the group size and the type of scales.
        ragged: what it does with a row that is not a multiple of the group: pad it, keep it unquantized, use narrower
            groups (by 32 at a time, until they tile the row), or refuse it.
    """

    format: str
    levels: tuple[str, ...]
    tensors: tuple[TensorRule, ...]
    source: str
    group_size: int | None = None
    block: tuple[int, int] = (128, 128)
    keeps: tuple[str, ...] = NOT_LINEAR
    zero_point: Literal["always", "choice", "never"] = "never"
    grouped: bool = True
    ragged: Literal["pads", "keeps", "narrows", "refuses"] = "pads"


#: How an entry without ``re:`` names modules. ``exact``: the module of that very name. ``parts``: as a glob if it has
#: ``*``, ``?`` or ``[``, else every module whose name contains its dotted parts in a row, and all modules below.
Matching: TypeAlias = Literal["exact", "parts"]


@frozen(kw_only=True, eq=False, repr=False)
class MethodConfig:
    """Base of the attrs classes into which the config of a method is structured.

    A subclass says by class variables what the loaders of its method read beside its fields. A class of a nested
    object may have ``ignored_keys`` as well.

    Args:
        modules_to_not_convert: modules that are left unquantized, under whichever of ``skip_keys`` they are named.
    """

    #: keys of the lists of modules that are left unquantized
    skip_keys: ClassVar[tuple[str, ...]] = ("modules_to_not_convert",)
    #: how the entries of these lists, and those of `overrides`, name modules
    matching: ClassVar[Matching] = "parts"
    #: keys that loaders know and that do not change a level: how calibration went, kernels, activations
    ignored_keys: ClassVar[frozenset[str]] = frozenset()
    #: whether `overrides` fills in what an entry leaves out from the settings for all modules
    overrides_inherit: ClassVar[bool] = False

    modules_to_not_convert: tuple[str, ...] | None = None

    def general(self) -> DeclaredLevel | None:
        """The level of all quantized weights that are not named otherwise; None if the config names no such level.

        Raises:
            NotImplementedError: if a method does not define it.
        """
        raise NotImplementedError

    def overrides(self) -> Mapping[str, DeclaredLevel | None]:
        """Module name, glob or ``re:`` pattern → its own level; None if it stays unquantized."""
        return {}

    def skipped(self) -> tuple[str, ...]:
        """Modules that are left unquantized: names, globs, ``re:`` patterns."""
        return self.modules_to_not_convert or ()

    def kv_cache(self) -> QuantizationLevel | None:
        """The level of the key-value cache, if that is quantized as well."""
        return None

    def buffers(self) -> frozenset[str]:
        """Last parts of the names of modules that hold no parameters: rotations that are applied to activations."""
        return frozenset()

    def quantized_on_disk(self) -> bool:
        """Whether weights are stored quantized, not only once they are loaded."""
        return True


def words(text: str) -> frozenset[str]:
    """The words of a text, for ``ignored_keys``: ``words("desc_act damp_percent")``."""
    return frozenset(text.split())


def _as_written(config: Config) -> Config:
    return config


def renamed(**keys: str) -> Callable[[Config], Config]:
    """A ``Scheme.prepare`` for configs that write a field under other keys: ``renamed(w_bit="bits")``."""
    return lambda config: {keys.get(key, key): value for key, value in config.items()}


def unwrapped(key: str) -> Callable[[Config], Config]:
    """A ``Scheme.prepare`` for configs that may hold fields in an object under one key; those come first."""

    def prepare(config: Config) -> Config:
        section = config.get(key)
        if not isinstance(section, dict):
            return config
        return {name: value for name, value in {**config, **section}.items() if name != key}

    return prepare


@final
class Scheme(NamedTuple):
    """One quantization method: how its config reads, how it packs weights, and how it would store them.

    Args:
        method: its name, the ``quant_method`` of its configs.
        config: the class its config is structured into; keys that it does not have are reported, not refused.
        packings: the layouts it writes, most specific first.
        aliases: other ``quant_method`` values for it.
        prepare: what turns a config as it is written into one with the fields of ``config``.
        storage: how it stores its levels, for ``size``; if it stores a level in several ways, the usual one first.
    """

    method: str
    config: type[MethodConfig]
    packings: tuple[Packing, ...] = ()
    aliases: tuple[str, ...] = ()
    prepare: Callable[[Config], Config] = _as_written
    storage: tuple[Storage, ...] = ()


#: The narrowest width that counts as not quantized.
UNQUANTIZED_BITS: Final = 16
#: What a config says for one scale per row.
PER_ROW: Final = -1
#: No row of a model is so long. A larger size is a mistake, and exact numbers computed from it could have any length.
_LARGEST_GROUP: Final = 2**31


def exact(numerator: int, denominator: int, what: str) -> int:
    """A quotient that must be whole and not zero.

    Raises:
        LayoutError: if it is not.
    """
    if not denominator or numerator % denominator or not numerator:
        raise LayoutError(f"{what}: {numerator} is not a multiple of {denominator}")
    return numerator // denominator


def group_size(row: int, groups: int, hint: Hint) -> int | None:
    """Weights along a row that share a scale, from the row's length and its groups; None for one group per row.

    The last group may be short if the size is known from elsewhere; otherwise groups must tile the row.

    Raises:
        LayoutError: if they do not.
    """
    known = hint.group_size
    # the declared size is taken only if it gives the stored number of groups: the tensors decide
    if known and known > 0 and -(-row // known) == groups:  # rounded up, for a short last group
        return known
    if groups == 1:  # a whole row, whatever the config calls its size
        return None
    return exact(row, groups, "scale groups do not tile a row")


def code_bits(codes: TensorInfo, parameters: int) -> Fraction:
    """Bits of storage per code, padding included."""
    return Fraction(codes.nbytes * BITS_PER_BYTE, parameters)


def with_scales(bits: Fraction | int, group: int | None, side_bits: int) -> Fraction:
    """Bits per weight of codes whose groups have ``side_bits`` bits of scale and zero point, without per-row extras."""
    if not group or group < 0:  # one scale per row is a per-row extra: the length of a row is not known here
        return Fraction(bits)
    return bits + Fraction(side_bits, group)


def one_of(*allowed: int) -> Callable[[object, Attribute[int], int], None]:
    """A validator for the widths in bits a method knows.

    Raises:
        ValueError: (the validator) for any other width.
    """

    def check(config: object, attribute: Attribute[int], value: int) -> None:
        if value not in allowed:
            raise ValueError(
                f"{attribute.name} must be {', '.join(map(str, allowed[:-1]))} or {allowed[-1]}, not {value}"
            )

    return check


def within(least: int, most: int) -> Callable[[object, Attribute[Any], float], None]:  # Any: int or float fields
    """A validator for a number with bounds; it refuses NaN.

    Raises:
        ValueError: (the validator) for a number outside them.
    """

    def check(config: object, attribute: Attribute[Any], value: float) -> None:  # Any: as above
        if not least <= value <= most:  # NaN fails both comparisons, which `value < least or value > most` would miss
            raise ValueError(f"{attribute.name} must be between {least} and {most}, not {value}")

    return check


def valid_group_size(
    config: object, attribute: Attribute[Any], value: int | None
) -> None:  # Any: int or int | None fields
    """A validator for group sizes: a number of weights, -1 for whole rows, or nothing.

    Raises:
        ValueError: for any other number.
    """
    if value is not None and value != PER_ROW and not 1 <= value <= _LARGEST_GROUP:
        raise ValueError(f"{attribute.name} must be a number of weights, or -1 for whole rows, not {value}")


@cache
def _integers() -> dict[str, QuantizationLevel]:
    """The integer levels by name."""
    from quantlevels.vocabulary.formats import SHIPPED  # here: plain checkpoints need only the five fixed levels

    return {level.name: level for level in (*BUILTIN, *SHIPPED) if level.kind in ("int", "uint")}


def integer(bits: int, *, unsigned: bool = False) -> QuantizationLevel:
    """The integer level of a width in bits.

    Raises:
        LayoutError: if it is not 1 to 8.
    """
    if not 1 <= bits <= BITS_PER_BYTE:
        raise LayoutError(f"codes have {bits} bits; integers of quantizers have 1 to {BITS_PER_BYTE}")
    return _integers()[f"{'UInt' if unsigned else 'Int'}{bits}"]


def declared_integer(
    bits: int,
    group_size: int | None,
    symmetric: bool | None,
    *,
    side_bits: int = 0,
    unsigned: bool = False,
) -> DeclaredLevel:
    """Integer codes with ``side_bits`` bits of scale and zero point for each group of weights along a row.

    Raises:
        LayoutError: if ``bits`` is not 1 to 8.
    """
    return DeclaredLevel(
        level=integer(bits, unsigned=unsigned),
        group_size=group_size,
        symmetric=symmetric,
        bits_per_weight=with_scales(bits, group_size, side_bits),
    )
