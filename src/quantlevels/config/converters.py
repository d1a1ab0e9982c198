"""Levels in cattrs: hooks that teach any converter the class, and the texts of its errors."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import Enum
from functools import partial
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    ForwardRef,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from cattrs import BaseConverter, Converter, ForbiddenExtraKeysError, StructureHandlerNotFoundError
from cattrs import transform_error as transform_error
from cattrs.cols import defaultdict_structure_factory, is_mapping, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn, override
from cattrs.v import format_exception as _cattrs_text

from quantlevels.config.fields import OneOf
from quantlevels.config.strict import Hook
from quantlevels.config.words import choices, closest, hint, is_level, is_namedtuple, is_union, keys_of, shown
from quantlevels.errors import (
    ConfigError,
    DuplicateLevelError,
    QuantLevelsError,
    UnknownLevelError,
    UntranslatableLevelError,
)
from quantlevels.vocabulary.builtin import BUILTIN
from quantlevels.vocabulary.level import Block, QuantizationLevel
from quantlevels.vocabulary.registry import Registry, levels

if TYPE_CHECKING:
    from attrs import Attribute

Names = Literal["any", "canonical"]


def configure_converter(converter: BaseConverter, *, registry: Registry = levels, names: Names = "any") -> None:
    """Teach a cattrs converter levels: as fields, in collections, as mapping keys, in unions.

    - A level unstructures to its name. One the registry does not know unstructures to a table of its fields; it cannot
      be a mapping key, which is refused.
    - ``names="any"`` structures any spelling the registry accepts, a level itself, and a table that defines a level
      there: ``{name, bits_per_param, block = {weights, bits}, ...}``, the fields of ``QuantizationLevel``.
    - ``names="canonical"`` reads and writes what the enum of the original five does: the name, letter by letter, or
      ``{name: null}``; nothing else. From JSON text, so read by the converter's own ``loads``, a name given twice in
      that object is refused.
    - Two spellings of one level as keys of one mapping are refused.
    - ``Annotated[QuantizationLevel, OneOf(INT8, INT4)]`` takes only those levels.
    - In a union, text is a member's of a ``Literal`` or ``Enum`` where it is one, else a level; a table with
      ``bits_per_param`` is a level; anything else is the other members'. A union with ``str`` is refused, for nothing
      in a file could tell the two apart.

    The errors of the hooks derive from ``QuantLevelsError``; ``format_exception`` gives their text to
    ``cattrs.transform_error``.
    """
    structure: Hook
    unstructure: Callable[[QuantizationLevel], object]
    if names == "canonical":
        structure, unstructure = _canonical(), _canonical_name
        _keep_repeated_names(converter)
    else:
        structure, unstructure = _any(converter, registry), partial(_name_or_table, registry)
    converter.register_structure_hook(QuantizationLevel, structure)
    converter.register_unstructure_hook(QuantizationLevel, unstructure)
    converter.register_structure_hook_factory(_is_chosen, _structure_chosen)
    converter.register_structure_hook_factory(_is_union_with_level, partial(_structure_union, registry))
    converter.register_structure_hook_factory(_is_keyed_by_level, structure_mapping)
    converter.register_unstructure_hook_factory(_is_keyed_by_level, partial(_unstructure_keyed, unstructure))
    _mend(converter, unstructure)


def format_exception(error: BaseException, type_: type | None) -> str:
    """The text of one error for ``cattrs.transform_error(..., format_exception=...)``.

    Says what quantlevels' errors say, and the closest names of misspelt keys; leaves the others to cattrs.
    """
    if isinstance(error, QuantLevelsError):
        return str(error)
    if isinstance(error, ForbiddenExtraKeysError):
        return "; ".join(_extra(key, keys_of(error.cl)) for key in sorted(map(str, error.extra_fields)))
    return _cattrs_text(error, type_)


def _extra(key: str, known: tuple[str, ...]) -> str:
    return f"unknown key {key!r}{hint(closest(key, known))}"


# -- one level ---------------------------------------------------------------------------------------------------------


def _not_a_level(value: object) -> QuantLevelsError:
    if value is None:
        return ConfigError(("expected a level, got null; FP32 is written 'None'",))
    if type(value) is int:
        return UnknownLevelError(value, tuple(level.name for level in BUILTIN if level.bits_per_param == value))
    return ConfigError((f"expected the name of a level or a table that defines one, got {shown(value)}",))


def _any(converter: BaseConverter, registry: Registry) -> Hook:
    find = registry.__getitem__
    read_table = structure_table(converter)

    def structure(value: Any, _: object) -> QuantizationLevel:  # Any: what a parser gave
        try:
            return find(value)  # first and alone: nearly every value is a name
        except (TypeError, UnknownLevelError):
            if isinstance(value, str):
                raise
        if isinstance(value, QuantizationLevel):
            return value
        if isinstance(value, Mapping):
            return settled(read_table(_unwrapped(value), QuantizationLevel), registry)
        raise _not_a_level(value)

    return structure


def _unwrapped(value: Any) -> Any:  # Any: what a parser gave
    """A plain value in the place of one of tomlkit's, whose integers are no ``int``."""
    return value.unwrap() if hasattr(value, "unwrap") else value


def settled(level: QuantizationLevel, registry: Registry) -> QuantizationLevel:
    """The known level that equals one from a table, or that one itself, which then takes no word of a known level.

    Raises:
        ReservedLevelError, DuplicateLevelError, AmbiguousLevelError: if it does take one.
    """
    known = registry.get(level.name)
    if known is None:
        return registry.vet(level)
    if known != level:
        registry.vet(level)
        raise DuplicateLevelError(level.name, known.name)
    return known


def _name_or_table(registry: Registry, level: QuantizationLevel) -> object:
    if settled(level, registry) in registry:
        return level.name
    return _table(level)


def _table(level: QuantizationLevel) -> dict[str, object]:
    table: dict[str, object] = {"name": level.name, "bits_per_param": level.bits_per_param}
    plain = QuantizationLevel(name=level.name, bits_per_param=level.bits_per_param)
    for attribute in attrs.fields(QuantizationLevel):
        value = getattr(level, attribute.name)
        if value != getattr(plain, attribute.name):
            table[attribute.name] = _plain(value)
    return table


def _plain(value: object) -> object:
    if isinstance(value, Block):
        return {"weights": value.weights, "bits": value.bits}
    if isinstance(value, Mapping):
        return {key: list(words) for key, words in value.items()}
    return list(value) if isinstance(value, tuple) else value


def structure_table(converter: BaseConverter) -> Hook:
    """The hook that reads a table of the fields of a level, each by the rules of the class and with a path of its own.

    Raises:
        ConfigError: from the hook, for each that breaks them; cattrs' own errors for missing and unknown ones.
    """

    def structure_block(value: object, _: object) -> Block:
        if not isinstance(value, Mapping):
            raise ConfigError((f"expected a table of weights and bits, got {shown(value)}",))
        block: Block = read_block(value, Block)
        return block

    def fields_of(cls: type, hooks: dict[str, Hook]) -> Hook:
        # Any: the type of every keyword argument there is
        overrides: dict[str, Any] = {
            a.name: override(struct_hook=hooks.get(a.name) or _by_the_rules(a)) for a in attrs.fields(cls)
        }
        return make_dict_structure_fn(
            cls,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=converter.detailed_validation,
            _cattrs_prefer_attrib_converters=False,
            _cattrs_use_alias=False,
            **overrides,
        )

    read_block = fields_of(Block, {})
    return fields_of(QuantizationLevel, {"block": structure_block})


def _by_the_rules(attribute: Attribute[Any]) -> Hook:  # Any: attributes of every type
    def structure(value: object, _: object) -> object:
        value = _tuples(value)
        try:
            attribute.validator(None, attribute, value)  # type: ignore[misc]  # ty: ignore[not-callable]  # they all have one
        except (TypeError, ValueError, AttributeError) as error:
            text = str(error).replace("a tuple of", "a list of")  # a file has no others
            raise ConfigError((text,)) from error
        return value

    return structure


def _tuples(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _tuples(words) for key, words in value.items()}
    return tuple(value) if isinstance(value, list) else value


# -- as the original does ----------------------------------------------------------------------------------------------


def _canonical() -> Hook:
    five: Final = {level.name: level for level in BUILTIN}

    def structure(value: object, _: object) -> QuantizationLevel:
        if isinstance(value, Mapping) and len(value) == 1 and not isinstance(value, _Repeated):
            ((name, content),) = value.items()
            value = name if content is None else value
        if isinstance(value, str) and value in five:
            return five[value]
        if isinstance(value, str):
            raise UnknownLevelError(value, tuple(get_close_matches(value, five)), "name of the original five")
        raise ConfigError((f"expected one of {', '.join(five)}, got {shown(value)}",))

    return structure


def _canonical_name(level: QuantizationLevel) -> str:
    if level not in BUILTIN:
        raise UntranslatableLevelError(level.name, "canonical names")
    return level.name


class _Repeated(dict[str, object]):
    """A JSON object that gave one of its keys twice: fine for a map, not for a level."""


def _keep_repeated_names(converter: BaseConverter) -> None:
    from cattrs.preconf.json import JsonConverter

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(items)
        return table if len(table) == len(items) else _Repeated(items)

    if isinstance(converter, JsonConverter):
        converter.loads = partial(converter.loads, object_pairs_hook=pairs)  # type: ignore[method-assign]


# -- levels in unions and mappings -------------------------------------------------------------------------------------


def _is_union_with_level(type_: Any) -> bool:
    members = get_args(type_) if is_union(type_) else ()
    return any(map(is_level, members)) and not all(is_level(t) or t is NoneType for t in members)


def _is_chosen(type_: Any) -> bool:  # Any: a type form
    return get_origin(type_) is Annotated and any(isinstance(note, OneOf) for note in type_.__metadata__)


def _structure_chosen(type_: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    plain = type_.__origin__
    structure = converter.get_structure_hook(plain)
    choices = [note for note in type_.__metadata__ if isinstance(note, OneOf)]

    def structure_chosen(value: object, _: object) -> object:
        result = structure(value, plain)
        for choice in choices:
            choice.check(result)
        return result

    return structure_chosen


def _structure_union(registry: Registry, union: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    members = get_args(union)
    mine = next(filter(is_level, members))
    others = [t for t in members if not is_level(t)]
    scalars = tuple({int, float, bool, bytes, NoneType}.intersection(others))
    objects = tuple(t for t in others if t not in scalars)
    rest: Any = Union[objects] if objects else None  # noqa: UP007  # pyrefly: ignore[not-a-type]  # the operator cannot join a tuple
    words = {word: member for t in others for word, member in choices(t) if isinstance(word, str)}
    names = {level.name for level in registry}
    if str in others or names.intersection(words) or any({"name", "bits_per_param"} <= {*keys_of(t)} for t in others):
        message = f"{union} cannot be told apart in a file; use a Literal, or a class of your own"
        raise StructureHandlerNotFoundError(message, union)
    structure_level = converter.get_structure_hook(mine)

    def structure(value: Any, _: object) -> object:  # Any: what a parser gave
        value = _unwrapped(value)
        if isinstance(value, str) and value in words:
            return words[value]
        if isinstance(value, (str, QuantizationLevel)) or (isinstance(value, Mapping) and "bits_per_param" in value):
            try:
                return structure_level(value, mine)
            except UnknownLevelError as error:
                if meant := closest(value, words):
                    raise UnknownLevelError(error.value, (meant, *error.suggestions)) from error
                raise
        for scalar in scalars:
            if isinstance(value, scalar) and (scalar is bool) == isinstance(value, bool):
                return value
        if float in scalars and type(value) is int:
            return float(value)
        if rest is None:
            raise _not_a_level(value)
        return converter.structure(value, rest)

    return structure


def _is_keyed_by_level(type_: Any) -> bool:  # Any: a type form
    return is_mapping(type_) and any(map(is_level, get_args(type_)[:1]))


def structure_mapping(mapping: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    """The hook that reads a mapping as cattrs does.

    Raises:
        ConfigError: from the hook, for two spellings of one key.
    """
    origin = get_origin(mapping) or mapping
    if issubclass(origin, defaultdict):
        structure = defaultdict_structure_factory(mapping, converter)
    elif issubclass(origin, Counter):
        structure = mapping_structure_factory(mapping, converter, structure_to=Counter, val_type=int)
    else:
        structure = mapping_structure_factory(mapping, converter)

    def refuse_two_spellings(value: Any, type_: Any) -> object:  # Any: what a parser gave
        result = structure(value, type_)
        if len(result) < len(value):
            raise ConfigError((f"two of the keys {', '.join(map(repr, value))} mean the same",))
        return result

    return refuse_two_spellings


def _unstructure_keyed(unstructure: Callable[[Any], object], mapping: Any, converter: BaseConverter) -> Any:
    # Any: type forms, and whatever converters make of mappings; several turn keys into text by `str`, here a label
    as_text = converter.get_unstructure_hook(get_origin(mapping)[(str, *get_args(mapping)[1:])])
    return lambda value: as_text({as_key(key, unstructure(key)): item for key, item in value.items()})


def as_key(key: object, written: object) -> str:
    """The text of a mapping key, by what its own hook makes of it.

    Raises:
        ConfigError: for a level that is written as a table.
    """
    if isinstance(key, QuantizationLevel) and not isinstance(written, str):
        raise ConfigError((f"{key.name!r} is not registered, and a mapping key has no room for its definition",))
    return str(written.value if isinstance(written, Enum) else written)


# -- where cattrs itself is at fault -----------------------------------------------------------------------------------


def _mend(converter: BaseConverter, unstructure: Callable[[QuantizationLevel], object]) -> None:
    """Mend what in cattrs 26 would let a level through unread or unwritten, or fail where nothing is wrong.

    - Named tuples whose annotations are text (``from __future__ import annotations``) are not resolved; nor are
      dataclasses by the msgspec converter, which then writes the insides of a level; nor is text in an annotation, as
      in ``Optional["QuantizationLevel"]``; nor are ``Required`` and ``NotRequired`` of a TypedDict, by Python itself.
    - The bson converter reads a TypedDict as any mapping; the tomlkit converter copies one as its own container.
    - Both, and those of orjson and tomllib, write the keys of mappings without type arguments by ``str``, which for a
      level is its label.
    """
    converter.register_structure_hook_factory(_has_text_annotations, _structure_resolved)
    converter.register_unstructure_hook_factory(_has_text_annotations, _unstructure_resolved)
    if not isinstance(converter, Converter):
        return
    homes = {cls.__module__.removeprefix("cattrs.preconf.") for cls in type(converter).__mro__}
    if homes & {"bson", "tomlkit"}:
        converter.register_structure_hook_factory(is_typeddict, _structure_typeddict)
    if homes & {"bson", "orjson", "tomlkit", "tomllib"}:
        converter.register_unstructure_hook_factory(_is_bare_mapping, partial(_unstructure_bare, unstructure))


def _has_text_annotations(type_: Any) -> bool:  # Any: a type form
    cls = get_origin(type_) or type_
    if attrs.has(cls):
        types = [] if "__attrs_types_resolved__" in vars(cls) else [field.type for field in attrs.fields(cls)]
    elif isinstance(cls, type) and dataclasses.is_dataclass(cls):
        types = [field.type for field in dataclasses.fields(cls)]
    else:
        types = list(cls.__annotations__.values()) if is_namedtuple(cls) or is_typeddict(cls) else []
    return any(map(_has_text, types))


def _has_text(type_: Any) -> bool:  # Any: a type form
    origin = get_origin(type_)
    inner = () if origin is Literal else get_args(type_)[:1] if origin is Annotated else get_args(type_)
    return isinstance(type_, (str, ForwardRef)) or any(map(_has_text, inner))


def _resolve(type_: Any) -> None:  # Any: a type form
    """Put types in the place of their names, as ``attrs.resolve_types`` does."""
    cls = get_origin(type_) or type_
    if attrs.has(cls):
        attrs.resolve_types(cls)
        return
    hints = get_type_hints(cls, include_extras=True)
    if is_typeddict(cls):
        marks = {name: _marks(hint) for name, hint in hints.items()}
        required = {name for name in cls.__required_keys__ if NotRequired not in marks[name]}
        required |= {name for name in marks if Required in marks[name]}
        cls.__required_keys__, cls.__optional_keys__ = frozenset(required), frozenset(hints.keys() - required)
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            field.type = hints[field.name]
    else:
        cls.__annotations__.update({name: hints[name] for name in cls.__annotations__})


def _marks(hint: Any) -> tuple[object, ...]:  # Any: a type form
    origin = get_origin(hint)
    return (origin, *_marks(get_args(hint)[0])) if origin in (Annotated, Required, NotRequired) else ()


def _structure_resolved(type_: Any, converter: BaseConverter) -> Hook:  # Any: a type form
    _resolve(type_)
    return converter.get_structure_hook(type_)


def _unstructure_resolved(type_: Any, converter: BaseConverter) -> Callable[[Any], Any]:  # Any: a type form
    _resolve(type_)
    return converter.get_unstructure_hook(type_)


def _structure_typeddict(type_: Any, converter: Converter) -> Hook:  # Any: a type form
    structure = converter.gen_structure_typeddict(type_)
    return lambda value, _: structure(dict(value), type_)


def _is_bare_mapping(type_: Any) -> bool:  # Any: a type form
    return is_mapping(type_) and not is_typeddict(type_) and get_args(type_)[:1] in ((), (Any,))


def _unstructure_bare(unstructure: Callable[[Any], object], mapping: Any, converter: Converter) -> Any:
    # Any: as of `_unstructure_keyed`
    plain: Any = dict[(str, *(get_args(mapping) or (Any, Any))[1:])]  # type: ignore[misc]  # ty: ignore[invalid-type-form]
    as_text = converter.get_unstructure_hook(plain)

    def write(key: object) -> str:
        return as_key(key, unstructure(key) if isinstance(key, QuantizationLevel) else key)

    return lambda value: as_text({write(key): item for key, item in value.items()})
