"""Values of options: levels, amounts with their units, and what was misspelt."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from quantlevels import QuantizationLevel
from quantlevels.cli.render import size
from quantlevels.config.click_type import LevelType
from quantlevels.findings import CODES, code_prefixes

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
#: parameters are counted in billions, which people write as B or G; memory has no B but that of bytes
_COUNTS: Final = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
#: bounded: more digits than any amount has, and few enough for exact arithmetic to be instant
_DIGITS: Final = r"\d[\d_,]{0,29}(?:\.\d{1,30})?"
# texts, not compiled: `re` does it for those that a command uses
_NUMBER: Final = rf"\s*({_DIGITS})\s*"
_COUNT: Final = rf"(?ai){_NUMBER}([KMBGT]?)\s*"
_MEMORY: Final = rf"(?ai)\s*(?P<digits>{_DIGITS})\s*(?P<prefix>[KMGTP]?)(?P<binary>i?)B?\s*"
_SHARE: Final = rf"(?a){_NUMBER}(%?)\s*"
_RATIO: Final = r"(?a)\s*(\d{1,30}(?:\.\d{1,30})?)(?:/(\d{1,30}))?\s*"

#: mark after a share → what is the whole
_WHOLES: Final = {"%": 100, "": 1}
#: bytes; less than any device has, so that ``--memory 80`` is seen as 80 without its unit
_LEAST_MEMORY: Final = 1 << 16


class _WholeNumber(click.IntRange):
    """`click.IntRange` with a name that reads well in "'four' is not a valid whole number"."""

    name = "whole number"


#: a whole number of groups, devices or bits
Natural: Final = _WholeNumber(min=1, max=2**32)


def _close(word: str, words: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # here: only a mistake needs it

    return get_close_matches(word, list(words))


class CheckpointPath(click.Path):
    """A path or a URL.

    Args:
        exists: whether a local path is checked at once. Of several, one that is missing is reported beside the others.
    """

    def __init__(self, *, exists: bool) -> None:
        super().__init__(exists=exists)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text:  # an unset variable in a script: Path("") would be the current folder
            self.fail("an empty path", param, ctx)
        if self.exists:
            check_exists(text)
        return text


class FilePath(click.Path):
    """A path of a file, which becomes a `Path` only if the option is given: pathlib takes a while to import."""

    def coerce_path_result(self, value: str | os.PathLike[str]) -> Path:
        from pathlib import Path

        return Path(value)


def check_exists(path: str) -> None:
    """Refuse a local path at which nothing is.

    Raises:
        UsageError: naming what is there by a similar name.
    """
    if "://" in path:
        return
    try:
        os.stat(path)  # noqa: PTH116  # Path("") would be the current folder
    except FileNotFoundError:
        from quantlevels.checkpoint.locate import in_cache  # here: most paths exist

        if in_cache(path) != path:
            return
        raise click.UsageError(f"Path {path!r} does not exist{_hint(path)}") from None
    except (OSError, ValueError) as error:
        raise click.UsageError(f"Path {path!r}: {getattr(error, 'strerror', error)}") from error


def _hint(missing: str) -> str:
    """What the folder has instead; else the URL that may be meant; else that the folder does not exist."""
    from pathlib import Path  # here: most paths exist

    from quantlevels.checkpoint.locate import is_repository_name

    path = Path(missing)
    try:
        names = os.listdir(path.parent)  # noqa: PTH208  # names, not paths
    except OSError:  # the hint is a courtesy; the path that was given is the error
        names = []
    close = _close(path.name, names)
    if close:
        alternatives = " or ".join(repr(str(path.with_name(name))) for name in close)
        return f"; did you mean {alternatives}?"
    protocol, one_slash, rest = missing.partition(":/")
    if one_slash and len(protocol) > 1 and protocol.isalnum():  # one letter is a drive of Windows
        return f"; did you mean the URL '{protocol}://{rest}'?"
    if is_repository_name(missing):
        return f", nor in the cache of Hugging Face; to read it remotely: quantlevels inspect hf://{missing}"
    if not path.parent.exists():
        return f", nor does {str(path.parent)!r}; a path must be on this disk, it is never downloaded"
    return ""


def check_output(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """A path to which output may be written.

    Raises:
        BadParameter: if a file of a model is there, by its name or its content; a link to one counts.
    """
    if path is not None and path.exists():
        from quantlevels.checkpoint.catalogue import is_model_file  # here: few runs write over a file

        if is_model_file(str(path)):
            raise click.BadParameter(f"{str(path)!r} is a file of a model, and is not overwritten", ctx, param)
    return path


def check_picture_name(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """A path that a picture may have.

    Raises:
        BadParameter: for another suffix: only SVG is written; or if a file of a model is there.
    """
    if path is not None and path.suffix.lower() != ".svg":
        raise click.BadParameter(f"{str(path)!r} does not end in .svg, the only format that is drawn", ctx, param)
    return check_output(ctx, param, path)


def completing(words: Callable[[], Iterable[str]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completion function for an option that takes one of these words."""
    return lambda _ctx, _param, incomplete: [word for word in words() if word.startswith(incomplete.lower())]


ExistingPath: Final = CheckpointPath(exists=True)
AnyPath: Final = CheckpointPath(exists=False)


class Amount(NamedTuple):
    """A number from the command line, and how it was read, in words."""

    value: int
    taken: str


def _whole(digits: str, factor: int) -> int | None:
    """Digits times a factor; None unless that is a positive integer."""
    product = _exact(digits) * factor
    if product.denominator != 1 or product == 0:
        return None
    return int(product)


def _exact(digits: str) -> Fraction:
    return Fraction(re.sub("[_,]", "", digits))


def count(text: str) -> Amount:
    """A number of parameters: ``70.6B``, ``8030261248``.

    Raises:
        BadParameter: if it is not one.
    """
    match = re.fullmatch(_COUNT, text)
    number = match and _whole(match[1], _COUNTS[match[2].upper()])
    if not number:
        raise click.BadParameter(f"{text!r} is not a number of parameters; write 8030261248, 8.03B or 350M")
    return Amount(number, f"{number:,} parameters")


def memory(text: str) -> Amount:
    """An amount of memory: ``80GiB`` in powers of 1024, ``80GB`` and ``80G`` in powers of 1000; else bytes.

    Raises:
        BadParameter: if it is not one, or less than any device has.
    """
    match = re.fullmatch(_MEMORY, text)
    if match is None or (match["binary"] and not match["prefix"]):
        raise _no_memory(text)
    digits, prefix = match["digits"], match["prefix"].upper()
    # GB is not GiB: 80GB of memory on a label are 74.5 GiB, and 7 % decide whether a model fits
    base, infix = (1024, "i") if match["binary"] else (1000, "")
    nbytes = _whole(digits, base ** _POWERS[prefix])
    if not nbytes:
        raise _no_memory(text)
    if nbytes < _LEAST_MEMORY:  # a unit was forgotten
        raise click.BadParameter(f"{text!r} is {nbytes:,} bytes, which no device has; write {digits}GiB or {digits}GB")
    return Amount(nbytes, f"{digits} {prefix}{infix}B = {size(nbytes)}")


def _no_memory(text: str) -> click.BadParameter:
    return click.BadParameter(f"{text!r} is not an amount of memory in whole bytes; write 80GiB or 80GB")


def share(text: str) -> Fraction:
    """A part of a whole, below 1: ``20%`` or ``0.2``.

    Raises:
        BadParameter: if it is not one.
    """
    match = re.fullmatch(_SHARE, text)
    if match:
        part = _exact(match[1]) / _WHOLES[match[2]]
        if part < 1:
            return part
    raise click.BadParameter(f"{text!r} is not a part of a whole; write 20% or 0.2")


def number(text: str) -> Fraction:
    """An exact number above 0: ``4.5`` or ``9/2``.

    Raises:
        BadParameter: if it is not one.
    """
    match = re.fullmatch(_RATIO, text)
    if match:
        dividend, divisor = Fraction(match[1]), Fraction(match[2] or 1)
        if dividend and divisor:
            return dividend / divisor
    raise click.BadParameter(f"{text!r} is not a positive number; write 4.5 or 9/2")


class FindingCode(click.ParamType[str]):
    """The code of a finding, its beginning, or its slug; the value is a beginning of codes."""

    name = "code"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return code_prefixes(value)[0]
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # here: a shell asks for it, and no other run

        found = CODES.items()
        return [CompletionItem(code, help=slug) for code, (slug, _) in found if code.startswith(incomplete.upper())]


class RecordName(click.ParamType[str]):
    """The name of a record that has a JSON Schema."""

    name = "record"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        names = self._names()
        if value not in names:
            close = _close(value, names)
            hint = f"records are {', '.join(names)}"
            if close:
                hint = f"did you mean {' or '.join(close)}?"
            self.fail(f"no record is called {value!r}; {hint}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # here: as above

        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]

    def _names(self) -> list[str]:
        from quantlevels.inspection.schema import RECORDS  # here: one command needs it

        return ["config", *RECORDS]


class CodePrefixes(click.ParamType[tuple[str, ...]]):
    """Codes of findings or what they begin with, apart by commas: ``QL1,QL206``."""

    name = "codes"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):  # click converts a default again
            return value
        try:
            return code_prefixes(prefix.strip() for prefix in value.split(",") if prefix.strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # here: as above

        # only the last code is under way; shells replace the whole word, so what stands before it is repeated
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{code.value}") for code in FindingCode().shell_complete(ctx, param, last)
        ]


def keep(text: str) -> tuple[str, QuantizationLevel]:
    """A glob and a level: ``lm_head=BFloat16``.

    Raises:
        BadParameter: if it is not both.
    """
    glob, equals, level = text.rpartition("=")  # from the right: a glob may hold an equals sign, a level does not
    if not (glob and equals):
        raise click.BadParameter(f"{text!r} is not of the form GLOB=LEVEL, such as lm_head=BFloat16")
    return glob, LevelType().convert(level, None, None)
