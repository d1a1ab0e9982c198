"""JSON, by the parser of the standard library, which is made to keep what it would lose: lines and repeated keys."""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Callable

# missing in typeshed
from json.decoder import JSONArray, JSONDecoder, JSONObject  # type: ignore[attr-defined]  # ty: ignore[missing-module-member]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]  # ty: ignore[missing-module-member]
from typing import Any, TypeAlias

from quantlevels.config.documents.document import Document, Pairs, ValueNode, decoded, finite, located

_Scan: TypeAlias = Callable[[str, int], tuple[object, int]]


def read(content: bytes) -> Document:
    """Read JSON text.

    Raises:
        ValueError: if it is not JSON; RecursionError if it is nested too deeply.
    """
    text = decoded(content)
    line_ends = [match.start() for match in re.finditer("\n", text)]

    def with_line(scan: _Scan) -> Callable[[str, int], tuple[ValueNode, int]]:
        def scan_once(string: str, index: int) -> tuple[ValueNode, int]:
            try:
                value, end = scan(string, index)
            except json.JSONDecodeError:
                raise
            except ValueError as error:  # of `finite` or `_refuse_constant`, which do not know where they are
                raise json.JSONDecodeError(str(error), string, index) from error
            return ValueNode(value, bisect(line_ends, index) + 1), end

        return scan_once

    # the scanner in C calls none of the three hooks below, so the one in Python is used: much slower, but config
    # files are small, and a mistake without its line is hard to find
    # Any: attributes that are there for this purpose, but not in typeshed
    decoder: Any = JSONDecoder(object_pairs_hook=Pairs, parse_constant=_refuse_constant, parse_float=finite)
    decoder.parse_object = lambda at, strict, scan, *rest: JSONObject(at, strict, with_line(scan), *rest)
    decoder.parse_array = lambda at, scan, *rest: JSONArray(at, with_line(scan), *rest)
    decoder.scan_once = with_line(py_make_scanner(decoder))
    return located(decoder.decode(text))


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is not a JSON value")


def write(data: object) -> bytes:
    """Write JSON text, indented.

    Raises:
        TypeError, ValueError: for data that JSON cannot hold.
    """
    return (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
