"""Config files: JSON, TOML, YAML or MessagePack into your own class, strictly, with all mistakes named at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from cattrs import Converter, IterableValidationError, IterableValidationNote

from quantlevels.config.converters import structure_table
from quantlevels.config.documents import SUFFIXES, DocumentFormat, dump, parse
from quantlevels.config.documents.document import Document
from quantlevels.config.formats import shared_converter, strict_converter
from quantlevels.config.reader import Mistake, expected
from quantlevels.config.strict import Hook, mistakes
from quantlevels.config.words import place
from quantlevels.config.writing import write_file
from quantlevels.errors import ConfigError, QuantLevelsError
from quantlevels.vocabulary.index import Index
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.registry import Registry, accepted, levels

__all__ = ["levels_file", "load", "loads", "save"]

T = TypeVar("T")


def load(path: str | os.PathLike[str], cls: type[T]) -> T:
    """Read a config file into an attrs class, dataclass, TypedDict, NamedTuple or any type cattrs knows.

    The suffix selects the format: ``.json``, ``.toml``, ``.yaml`` or ``.yml``, ``.msgpack``. Types are strict: no value
    is converted, except an integer to a float. Keys that the class does not have are refused.

    Raises:
        ConfigError: with one line per mistake in the file: the place, what was expected and found, the closest names;
            or if the file cannot be read.
    """
    path = Path(path)
    format = _format_of(path)
    return _structured(_content(path), format, shared_converter, cls, str(path))


def loads(text: str | bytes, format: DocumentFormat, cls: type[T]) -> T:
    """Read the text of a config file, as `load` does.

    Raises:
        ConfigError: as `load`.
    """
    return _structured(text, format, shared_converter, cls, f"<{format}>")


def save(path: str | os.PathLike[str], obj: object) -> None:
    """Write an object to a config file that `load` reads back as an equal object.

    TOML has no null: fields that are None, and None by default, are left out of the file. A file that is there is
    replaced when the new one is complete: it keeps its permissions, and a link stays a link.

    Raises:
        ConfigError: if the format cannot hold a value, or the file cannot be written; it is then unchanged.
        TypeError: if a field for a level holds something else, such as the name of one.
    """
    path = Path(path)
    format = _format_of(path)
    try:
        content = dump(shared_converter(format).unstructure(obj), format)
    except QuantLevelsError as error:
        raise ConfigError((f"{path}: {error}",)) from error
    try:
        write_file(path, content)
    except (OSError, ValueError) as error:
        raise _unusable(path, "written", error) from error


def levels_file(path: str | os.PathLike[str], *, registry: Registry = levels) -> tuple[QuantizationLevel, ...]:
    """Register all levels that a file defines, or none of them, and return them.

    The file has one table, ``levels``, from names to the fields of a level: ``[levels.Int4Acme]``, then
    ``bits_per_param = 4``.

    Raises:
        ConfigError: with one line per mistake in the file, or if it cannot be read, as `load`.
    """
    path = Path(path)

    def converter_for(format: DocumentFormat) -> Converter:
        converter = strict_converter(format)
        converter.register_structure_hook(_Definitions, _structure_definitions(converter, registry))
        return converter

    format = _format_of(path)
    found = _structured(_content(path), format, converter_for, _LevelsFile, str(path)).levels.values()
    try:
        return registry.register_all(tuple(found))
    except QuantLevelsError as error:  # another thread has registered one of the names meanwhile
        raise ConfigError((f"{path}: {error}",)) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unusable(path, "read", error) from error


def _unusable(path: Path, how: str, error: OSError | ValueError) -> ConfigError:
    """The error for a path that the system refuses: with a ValueError, if it holds a NUL."""
    reason = getattr(error, "strerror", None) or error
    return ConfigError((f"{path}: cannot be {how}: {reason}",))


def _format_of(path: Path) -> DocumentFormat:
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise ConfigError((f"{path}: the suffix must be one of {', '.join(SUFFIXES)}",)) from None


def _structured(
    content: str | bytes,
    format: DocumentFormat,
    converter_for: Callable[[DocumentFormat], Converter],
    cls: type[T],
    name: str,
) -> T:
    try:
        document = parse(content, format)
    except ConfigError as error:
        raise ConfigError(tuple(f"{name}: {message}" for message in error.messages)) from error
    found = [Mistake(keys, text) for keys, text in document.faults]
    # outside of try: a class that cannot be read is its author's mistake, not one in the file
    structure = converter_for(format).get_structure_hook(cls)
    try:
        result: T = structure(document.data, cls)
    except Exception as error:  # a class of the user may raise anything for a value
        found.extend(mistakes(error, cls, document.data))
    else:
        if not found:
            return result
    raise ConfigError(_lines(found, document, name))


def _lines(found: list[Mistake], document: Document, name: str) -> tuple[str, ...]:
    """A line per mistake, in the order of the file: ``serve.toml: $.port: expected an integer, got 'x' (line 2)``."""
    lines: list[tuple[int, str]] = []
    for mistake in found:
        text = f"{name}: {place(mistake.keys)}: {mistake.text}"
        number = document.line(mistake.keys)
        if number is None:  # MessagePack
            lines.append((0, text))
        else:
            lines.append((number, f"{text} (line {number})"))
    # by line alone: mistakes on one line stay in the order of the class
    return tuple(text for _, text in sorted(lines, key=lambda line: line[0]))


# -- levels of a file --------------------------------------------------------------------------------------------------


class _Definitions(dict[str, QuantizationLevel]):
    """The levels a file defines, by name."""

    __slots__ = ()


@attrs.frozen
class _LevelsFile:
    levels: _Definitions


def _structure_definitions(converter: Converter, registry: Registry) -> Hook:
    structure_fields = structure_table(converter)

    def structure(name: object, table: object) -> QuantizationLevel:
        if not isinstance(table, Mapping):
            raise expected("a table of the fields of a level", table)
        if "name" in table:
            raise ConfigError((f"the key of the table already gives the name {name!r}",))
        level: QuantizationLevel = structure_fields({"name": name, **table}, QuantizationLevel)
        return level

    def structure_definitions(value: object, _: object) -> _Definitions:
        if not isinstance(value, Mapping):
            raise expected("a table of levels by name", value)
        # levels of the file must not collide with each other either; a copy is checked, so that all or none are added
        scratch = Index(registry)
        found: dict[str, QuantizationLevel] = {}
        errors: list[Exception] = []
        for name, table in value.items():
            try:
                found[name] = accepted(structure(name, table), scratch)
            except Exception as error:  # collected, as cattrs does
                error.add_note(IterableValidationNote("level", name, QuantizationLevel))
                errors.append(error)
        if errors:
            refused: Any = IterableValidationError  # Any: to checkers it takes what ExceptionGroup takes
            raise refused("levels", errors, _Definitions)
        return _Definitions(found)

    return structure_definitions
