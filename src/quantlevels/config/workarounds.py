"""Where cattrs itself is at fault: hooks that correct it, for levels and the classes that hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NotRequired,
    Required,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from cattrs import BaseConverter, Converter
from cattrs.cols import is_mapping

from quantlevels.config.strict import Hook
from quantlevels.config.words import as_key, is_namedtuple
from quantlevels.vocabulary.level import QuantizationLevel


def work_around_cattrs_bugs(converter: BaseConverter, unstructure: Callable[[QuantizationLevel], object]) -> None:
    """Register hooks for what cattrs 26 gets wrong: levels that it would not read or write, and errors without reason.

    - It does not resolve annotations that are text (``from __future__ import annotations``) of named tuples; of
      dataclasses in the msgspec converter, which then writes the fields of a level; inside another annotation, as in
      ``Optional["QuantizationLevel"]``. Python itself misses ``Required`` and ``NotRequired`` in such annotations.
    - The bson converter reads a TypedDict as any mapping; the tomlkit converter copies one as its own container.
    - Both, and those of orjson and tomllib, write the keys of mappings without type arguments by ``str``, which for a
      level is its label.
    """
    converter.register_structure_hook_factory(_has_text_annotations, _structure_resolved)
    converter.register_unstructure_hook_factory(_has_text_annotations, _unstructure_resolved)
    if not isinstance(converter, Converter):
        return
    # by the modules of their classes: to import those would need every library that cattrs supports
    homes = {cls.__module__.removeprefix("cattrs.preconf.") for cls in type(converter).__mro__}
    if homes & {"bson", "tomlkit"}:
        converter.register_structure_hook_factory(is_typeddict, _structure_typeddict)
    if homes & {"bson", "orjson", "tomlkit", "tomllib"}:
        converter.register_unstructure_hook_factory(_is_bare_mapping, partial(_unstructure_bare, unstructure))


def _has_text_annotations(type_: Any) -> bool:  # Any: a type form
    return any(map(_has_text, _field_types(get_origin(type_) or type_)))


def _field_types(cls: Any) -> Iterable[object]:  # Any: a class
    """The types of the fields of a class that is to be resolved; none for any other class."""
    if attrs.has(cls):
        if "__attrs_types_resolved__" in vars(cls):  # attrs' own mark
            return ()
        return [field.type for field in attrs.fields(cls)]
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return [field.type for field in dataclasses.fields(cls)]
    if is_namedtuple(cls) or is_typeddict(cls):
        annotations: dict[str, object] = cls.__annotations__
        return annotations.values()
    return ()


def _has_text(type_: Any) -> bool:  # Any: a type form
    if isinstance(type_, (str, ForwardRef)):
        return True
    inner = get_args(type_)
    if get_origin(type_) is Literal:  # its text is not a name
        return False
    if get_origin(type_) is Annotated:  # nor are its notes
        inner = inner[:1]
    return any(map(_has_text, inner))


def _resolve(type_: Any) -> None:  # Any: a type form
    """Put types in the place of their names, as ``attrs.resolve_types`` does."""
    cls = get_origin(type_) or type_
    if attrs.has(cls):
        attrs.resolve_types(cls)
        return
    hints = get_type_hints(cls, include_extras=True)
    if is_typeddict(cls):
        # Python computed these sets when the annotations were still text
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
    """``Required`` and ``NotRequired`` around a type, in any order with ``Annotated``."""
    origin = get_origin(hint)
    if origin not in (Annotated, Required, NotRequired):
        return ()
    return (origin, *_marks(get_args(hint)[0]))


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
        if isinstance(key, QuantizationLevel):
            return as_key(key, unstructure(key))
        return as_key(key, key)

    return lambda value: as_text({write(key): item for key, item in value.items()})
