"""A section in the words of a known method → the levels it declares.

What is known is kept beside what is not: an unknown word or an impossible value costs no more than the level that
depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar, final

from attrs import evolve, field, frozen

from quantlevels.config.words import place
from quantlevels.container import JSON
from quantlevels.findings import Finding
from quantlevels.scheme import Config, DeclaredLevel, MethodConfig, Scheme, UnknownTypeError, UnusableEntriesError
from quantlevels.schemes.declaration.declared import Declared
from quantlevels.schemes.declaration.methods import Claim
from quantlevels.schemes.declaration.places import KEYS_BESIDE
from quantlevels.schemes.structuring import Complaint, SectionReading, complaints_of, structured, unread_keys
from quantlevels.vocabulary.level import QuantizationLevel
from quantlevels.vocabulary.plain import value_text

_T = TypeVar("_T")

_SKIPPED: Final = "modules_to_not_convert"
#: Keys of any section that do not concern levels: the name of the method, its producer, what stands beside it.
_COMMON_KEYS: Final = frozenset({"quant_method", "method", "meta", "producer", "version", "_comment", *KEYS_BESIDE})
#: Fields that do not change the levels of weights begin so.
_CACHE: Final = "kv_cache"
#: How many keys a finding lists, and how many kinds of mistakes have a finding of their own.
_MOST_LISTED: Final = 8
_MOST_KINDS: Final = 20


def read_claims(
    claims: Sequence[Claim], scheme: Scheme, dtype: QuantizationLevel | None, others: tuple[Declared, ...] = ()
) -> tuple[Declared, list[Finding]]:
    """What sections of one method declare together, the first of them first, and a finding for every mistake in them.

    Args:
        claims: at least one.
        scheme: their scheme.
        dtype: the level of what is not quantized.
        others: what other files declare.
    """
    first = claims[0].section
    reader = _Reader(first.file, first.path)
    config: dict[str, JSON] = {}
    written: set[str] = set()
    for claim in reversed(claims):  # the first claim last, so that its values stand
        written.update(claim.section.config)
        config.update(reader.prepared(claim, scheme))
    unread = list(unread_keys(config, scheme.config, _COMMON_KEYS | {*scheme.config.skip_keys}))
    if unread:
        listed = ", ".join(place(keys, root="").removeprefix(".") for keys in unread[:_MOST_LISTED])
        if len(unread) > _MOST_LISTED:
            listed += f" and {len(unread) - _MOST_LISTED:,} more"
        reader.report("QL306", first.path, f"{scheme.method} does not read {listed}")
    config[_SKIPPED] = reader.skipped(config, scheme.config)
    reading = structured(config, scheme.config, first.path, written)
    reader.complain(reading.complaints)
    base = Declared(
        source=first.file,
        method=scheme.method,
        dtype=dtype,
        scheme=scheme,
        matching=scheme.config.matching,
        others=others,
    )
    declared = base
    if reading.config is not None:
        declared = reader.declared(base, reading, reading.config)
    return declared, list(reader.findings())


@final
@frozen(eq=False, repr=False)
class _Reader:
    """Reads one section and collects what is wrong with it."""

    file: str
    path: str
    #: code, and what is wrong → the places where it is
    mistakes: dict[tuple[str, str], list[str]] = field(factory=dict)

    def report(self, code: str, place: str, text: str) -> None:
        """Take note of a mistake."""
        self.mistakes.setdefault((code, text), []).append(place)

    def findings(self) -> Iterator[Finding]:
        """One finding for each kind of mistake, with its first place; those of many kinds are counted."""
        kinds = Counter(code for code, _ in self.mistakes)
        left = dict.fromkeys(kinds, _MOST_KINDS)
        for (code, text), (first, *others) in self.mistakes.items():
            if not left[code]:
                continue
            left[code] -= 1
            more = f" (and {len(others):,} more)" if others else ""
            yield Finding(code, f"{first}: {text}{more}", self.file)
        for code, count in kinds.items():
            if count > _MOST_KINDS:
                yield Finding(code, f"{self.path}: {count - _MOST_KINDS:,} more mistakes", self.file)

    def prepared(self, claim: Claim, scheme: Scheme) -> Config:
        """A section with the fields of the method's class; nothing if it cannot even be prepared."""
        try:
            return scheme.prepare(claim.section.config)
        except Exception as error:  # a plugin's function raises what it likes
            self.report("QL305", claim.section.path, f"{type(error).__name__}: {error}")
            return {}

    def skipped(self, config: dict[str, JSON], class_: type[MethodConfig]) -> JSON:
        """The modules that the lists of a method leave out, each once; the lists are taken out of the config."""
        names: dict[str, None] = {}
        for key in class_.skip_keys:
            listed = config.pop(key, None)
            if listed is None:
                continue
            if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
                names |= dict.fromkeys(str(name) for name in listed)
            else:
                self.report("QL305", f"{self.path}.{key}", f"expected a list of module names, got {value_text(listed)}")
        return list(names)

    def declared(self, base: Declared, reading: SectionReading[MethodConfig], config: MethodConfig) -> Declared:
        """What the instance of a method's class declares."""
        # a level that depends on a value that was left out would be the level of its default
        settled = all(name.startswith(_CACHE) for name in reading.left_out)
        general = self.attempt(config.general) if settled else None
        overrides: dict[str, DeclaredLevel | None] = {}
        if settled or not config.overrides_inherit:
            overrides = self.overrides(config)
        # an entry that could not be used still names its modules: they are not at the general level
        overrides |= {entry: None for _, entry in reading.entries if entry not in overrides}
        return evolve(
            base,
            kv_cache=self.attempt(config.kv_cache),
            levels=distinct(general, overrides),
            skipped=self.attempt(config.skipped) or (),
            quantized_on_disk=self.attempt(config.quantized_on_disk) is not False,
            buffers=self.attempt(config.buffers) or frozenset(),
            general=general,
            overrides=overrides,
        )

    def overrides(self, config: MethodConfig) -> dict[str, DeclaredLevel | None]:
        """The levels of modules by name, with None for those that are unknown."""
        try:
            return {**config.overrides()}
        except UnusableEntriesError as error:
            for entry, mistake in error.errors.items():
                code = "QL301" if isinstance(mistake, UnknownTypeError) else "QL305"
                self.report(code, f"{self.path}: {entry}", str(mistake))
            return {**error.levels}
        except Exception as error:  # a plugin's class raises what it likes
            self.complain(complaints_of(error, self.path))
            return {}

    def attempt(self, declared: Callable[[], _T]) -> _T | None:
        """What a method of the class says; None if it cannot, with a finding."""
        try:
            return declared()
        except Exception as error:  # a plugin's class raises what it likes
            self.complain(complaints_of(error, self.path))
            return None

    def complain(self, complaints: Iterable[Complaint]) -> None:
        """Take note of mistakes that were found while values were read."""
        for complaint in complaints:
            self.report("QL301" if complaint.is_unknown_word else "QL305", complaint.place, complaint.text)


def distinct(general: DeclaredLevel | None, overrides: Mapping[str, DeclaredLevel | None]) -> tuple[DeclaredLevel, ...]:
    """The general level, then each level of modules by name once, with all modules it is for."""
    targets: dict[DeclaredLevel, list[str]] = {}
    for module, level in overrides.items():
        if level is not None:
            targets.setdefault(evolve(level, targets=None, parameters=None), []).append(module)
    found = dict.fromkeys([general] if general else [])
    if general and general.alternative:
        found[general.alternative] = None
    # the general level may be for named modules itself: those of the only group of compressed-tensors
    found |= dict.fromkeys(evolve(level, targets=tuple(modules)) for level, modules in targets.items())
    return tuple(found)
