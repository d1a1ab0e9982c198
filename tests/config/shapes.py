"""Every place a level can have in the classes of a config; also run with its annotations as text, see `conftest.py`."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, Required, TypedDict

import attrs

from quantlevels import BF16, FP16, FP32, INT4, INT8, Block, QuantizationLevel

CUSTOM = QuantizationLevel(
    name="Int4Acme",
    bits_per_param=4,
    label="acme4",
    block=Block(32, 144),
    aliases=("i4a",),
    spellings={"torch": ("acme_int4", 3)},
    kind="int",
    summary="with everything a level can have",
    source="the acme handbook",
)
THREE = QuantizationLevel(name="W3", bits_per_param=3)


class Mode(Enum):
    AUTO = "auto"


@attrs.define
class Scheme:
    group: int
    scale: QuantizationLevel = FP16


@attrs.frozen
class Attrs:
    weights: QuantizationLevel
    optional: Optional[QuantizationLevel] = None  # noqa: UP045  # the spelling is part of the test
    list_: list[QuantizationLevel] = attrs.field(factory=list)
    sequence: Sequence[QuantizationLevel] = ()
    tuple_: tuple[QuantizationLevel, ...] = ()
    pair: tuple[QuantizationLevel, int] = (INT4, 1)
    set_: set[QuantizationLevel] = attrs.field(factory=set)
    frozen: frozenset[QuantizationLevel] = frozenset()
    values: dict[str, QuantizationLevel] = attrs.field(factory=dict)
    keys: dict[QuantizationLevel, int] = attrs.field(factory=dict)
    both: dict[QuantizationLevel, list[QuantizationLevel]] = attrs.field(factory=dict)
    mapping: Mapping[QuantizationLevel, str] = attrs.field(factory=dict)
    counter: Counter[QuantizationLevel] = attrs.field(factory=Counter)
    default: defaultdict[QuantizationLevel, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    or_int: QuantizationLevel | int = 3
    or_literal: QuantizationLevel | Literal["auto"] = "auto"
    or_enum: QuantizationLevel | Mode = Mode.AUTO
    or_class: QuantizationLevel | Scheme = INT8
    or_float: QuantizationLevel | float | None = None
    or_bools: list[QuantizationLevel | bool] = attrs.field(factory=list)


@dataclasses.dataclass(frozen=True)
class Data:
    weights: QuantizationLevel
    optional: QuantizationLevel | None = None
    list_: list[QuantizationLevel] = dataclasses.field(default_factory=list)
    keys: dict[QuantizationLevel, int] = dataclasses.field(default_factory=dict)


class Typed(TypedDict):
    weights: QuantizationLevel
    list_: list[QuantizationLevel]
    keys: dict[QuantizationLevel, int]


class Partly(TypedDict, total=False):
    weights: Required[QuantizationLevel]
    layers: dict[str, QuantizationLevel]
    more: NotRequired[QuantizationLevel]


class Omitted(TypedDict):
    weights: NotRequired[Annotated[QuantizationLevel, "of the model"]]
    more: Annotated[NotRequired[QuantizationLevel], "of another"]


@attrs.frozen
class Quoted:
    optional: Optional["QuantizationLevel"]  # as in modules where the class is not known yet
    layers: dict[str, "QuantizationLevel"]


@attrs.frozen
class QuotedMore(Quoted):
    more: Optional["QuantizationLevel"] = None


@dataclasses.dataclass
class QuotedData:
    optional: Optional["QuantizationLevel"]
    layers: dict[str, "QuantizationLevel"]
    literal: Literal["QuantizationLevel"] = "QuantizationLevel"


class Named(NamedTuple):
    weights: QuantizationLevel
    list_: list[QuantizationLevel]
    number: int = 3


@attrs.define
class Tree:
    attrs_: Attrs
    data: Data
    typed: Typed
    named: Named
    many: list[Attrs]
    more: dict[str, Typed]


@dataclasses.dataclass
class DataTree:
    attrs_: Attrs
    data: Data
    typed: Typed
    named: Named
    many: list[Data]


FULL = Attrs(
    BF16,
    optional=INT8,
    list_=[FP32, CUSTOM, INT4],
    sequence=(CUSTOM,),
    tuple_=(THREE, FP16),
    pair=(CUSTOM, 7),
    set_={INT4, BF16},
    frozen=frozenset({FP32}),
    values={"x": CUSTOM, "y": INT4},
    keys={FP32: 1, FP16: 2},
    both={INT4: [CUSTOM, INT8]},
    mapping={BF16: "z"},
    counter=Counter({INT4: 3}),
    default=defaultdict(list, {INT8: [1]}),
    or_int=INT4,
    or_literal=INT4,
    or_enum=FP32,
    or_class=Scheme(3, CUSTOM),
    or_float=2.5,
    or_bools=[True, CUSTOM, INT4],
)
OTHERS = Attrs(CUSTOM, optional=CUSTOM, or_int=12, or_class=CUSTOM, or_float=FP32)
DATA = Data(INT4, INT8, [CUSTOM, FP32], {FP32: 1})
TYPED = Typed(weights=INT4, list_=[CUSTOM, FP32], keys={FP32: 2})
TYPED_CUSTOM = Typed(weights=CUSTOM, list_=[], keys={})
NAMED = Named(INT4, [CUSTOM, FP32])

#: (type, value): each is one case
VALUES: list[tuple[Any, Any]] = [
    (Attrs, FULL),
    (Attrs, OTHERS),
    (Data, DATA),
    (Data, Data(CUSTOM, CUSTOM)),
    (Typed, TYPED),
    (Typed, TYPED_CUSTOM),
    (Partly, Partly(weights=INT4)),
    (Partly, Partly(weights=INT4, layers={"x": INT8}, more=CUSTOM)),
    (Omitted, Omitted()),
    (Quoted, Quoted(INT4, {"x": CUSTOM})),
    (QuotedMore, QuotedMore(INT4, {"x": CUSTOM}, more=INT8)),
    (QuotedData, QuotedData(CUSTOM, {"x": INT8})),
    (dict[str, Named], {"in a table": NAMED}),
    (Tree, Tree(FULL, DATA, TYPED, NAMED, [OTHERS, FULL], {"x": TYPED_CUSTOM, "y": TYPED})),
    (DataTree, DataTree(OTHERS, DATA, TYPED, NAMED, [DATA])),
    (dict[str, list[QuantizationLevel]], {"in a table": [INT4, CUSTOM]}),
    (dict[QuantizationLevel, QuantizationLevel], {INT4: CUSTOM}),
]
