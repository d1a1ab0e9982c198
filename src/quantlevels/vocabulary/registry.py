"""Names, bits and dialects → level: the registry, and the one everybody shares, `levels`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from attrs import fields

from quantlevels.errors import DuplicateLevelError, PluginError, ReservedLevelError, UnknownLevelError
from quantlevels.vocabulary.builtin import BUILTIN, BY_BITS, BuiltinName
from quantlevels.vocabulary.index import TORCH_PREFIX, Index, normalized, own_words, shipped
from quantlevels.vocabulary.level import QuantizationLevel, Spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from quantlevels.vocabulary.plugins import PluginPolicy, Plugins, PluginStatus

T = TypeVar("T")

_SUGGESTIONS = 3
_NEARLY_AS_CLOSE = 0.9  # as the closest: what is farther off is noise


class _Table(dict[str, QuantizationLevel]):
    """Exact spelling → level, for look-ups that hit; a miss is the registry's to resolve."""

    __slots__ = ("resolve",)

    def __init__(self, resolve: Callable[[str], QuantizationLevel]) -> None:
        self.resolve = resolve

    def __missing__(self, spelling: str) -> QuantizationLevel:
        return self.resolve(spelling)


class Registry:
    """Every level the world uses: the five, those registered in process, those shipped, those of installed plugins.

    ``registry[spelling]`` takes any accepted spelling in any case: names, labels, aliases, the words of dialects. It is
    looked up in that order, and a plugin is imported when its name is asked for. Not a ``Mapping``: a miss raises
    ``UnknownLevelError``. Iteration and ``len`` are over the levels known by now. Safe under threads.

    Args:
        plugins: which installed distributions may bring levels: ``"all"``, ``"off"`` or some of them by name; what the
            environment variable ``QUANTLEVELS_PLUGINS`` says unless given.

    Raises:
        ValueError: for any other string.
    """

    __slots__ = ("__weakref__", "_lock", "_plugins", "_policy", "_registered", "_table")

    def __init__(self, plugins: PluginPolicy | None = None) -> None:
        if isinstance(plugins, str) and plugins not in ("all", "off"):
            raise ValueError(f"plugins must be 'all', 'off' or a list of distributions, not {plugins!r}")
        self._policy = plugins
        self._plugins: Plugins | None = None
        self._lock = threading.Lock()
        self._registered = Index(())  # replaced whole, never changed, so that readers need no lock
        self._table = _Table(self._resolve)
        self._table.update({word: level for level in BUILTIN for word in own_words(level)})

    def __getitem__(self, spelling: str) -> QuantizationLevel:
        """The level that answers to a spelling.

        Raises:
            UnknownLevelError: if none does; it names the closest.
            AmbiguousLevelError: if the spelling means different levels to different people, such as ``fp4``.
            PluginError: if it is the name of a plugin that cannot be used.
        """
        return self._table[spelling]

    def _resolve(self, spelling: str) -> QuantizationLevel:
        if not isinstance(spelling, str):
            raise UnknownLevelError(spelling)
        for level in BUILTIN:  # before anything is loaded
            if normalized(spelling) in map(normalized, own_words(level)):
                return level
        for index in (self._registered, shipped()):
            if found := index.find(spelling):
                if spelling == found.name:
                    self._table[spelling] = found  # a hit from now on
                return found
        if brought := self.installed.level(spelling):
            return brought
        raise UnknownLevelError(spelling, self._closest(spelling))

    def _closest(self, spelling: str) -> tuple[str, ...]:
        from difflib import SequenceMatcher, get_close_matches

        words: dict[str, tuple[str, str]] = {}
        for level in self:
            for word in own_words(level):
                words.setdefault(normalized(word), (level.name, word))
        for name in self.installed.names():
            words.setdefault(normalized(name), (name, name))
        sought = normalized(spelling)
        for best in get_close_matches(sought, words, n=1):
            cutoff = _NEARLY_AS_CLOSE * SequenceMatcher(None, best, sought).ratio()
            close = get_close_matches(sought, words, n=2 * _SUGGESTIONS, cutoff=cutoff)
            closest_of_level = dict(words[word] for word in reversed(close))
            return tuple(reversed(closest_of_level.values()))[:_SUGGESTIONS]
        return ()

    @overload
    def get(self, spelling: BuiltinName) -> QuantizationLevel: ...
    @overload
    def get(self, spelling: str) -> QuantizationLevel | None: ...
    @overload
    def get(self, spelling: str, default: T) -> QuantizationLevel | T: ...
    def get(self, spelling: str, default: object = None) -> object:
        """The level that answers to a spelling, or ``default`` where none does.

        Raises:
            AmbiguousLevelError: if the spelling means different levels to different people.
            PluginError: if it is the name of a plugin that cannot be used.
        """
        try:
            return self[spelling]
        except UnknownLevelError:
            return default

    def __contains__(self, item: object) -> bool:
        """Whether a spelling finds a level; for a level, whether an equal one is known."""
        if isinstance(item, QuantizationLevel):
            return self._equal(item) is not None
        try:
            return isinstance(item, str) and bool(self[item])
        except (LookupError, PluginError):
            return False

    def __iter__(self) -> Iterator[QuantizationLevel]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.all())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} levels>"

    def all(self, *, plugins: bool = False) -> tuple[QuantizationLevel, ...]:
        """The known levels: the five first, then the shipped, the registered, those of plugins that are loaded.

        Args:
            plugins: import all plugins first; each that cannot be used is left out with a ``PluginWarning``.
        """
        if plugins:
            self.installed.load()
        brought = self._plugins.levels() if self._plugins else ()
        return tuple(dict.fromkeys((*shipped().levels, *self._registered.levels, *brought)))

    def from_bits(self, bits: int) -> QuantizationLevel:
        """One of the five by its width in bits: 32, 16, 8, 4 give FP32, FP16, INT8, INT4; 16 is never BF16.

        Raises:
            UnknownLevelError: for anything else, which is its ``value``.
        """
        if type(bits) is int and bits in BY_BITS:
            return BY_BITS[bits]
        raise UnknownLevelError(bits, where="width in bits")

    def with_bits(self, bits: int) -> tuple[QuantizationLevel, ...]:
        """All levels of a nominal width in bits, those of all plugins included, in the order of `all`."""
        return tuple(level for level in self.all(plugins=True) if level.bits_per_param == bits)

    def from_dialect(self, dialect: str, spelling: Spelling) -> QuantizationLevel:
        """The level a dialect means by a word or a number: ``("ggml", 12)``, ``("safetensors", "BF16")``.

        Raises:
            UnknownLevelError: if the dialect, or the word in it, is not known, to no plugin either. Words are compared
                letter by letter.
            AmbiguousLevelError: if different plugins mean different levels by it.
        """
        if type(spelling) in (str, int):  # True is no 1 here
            for index in (shipped(), self._registered):
                if level := index.dialects.get((dialect, spelling)):
                    return level
            if brought := self.installed.in_dialect(dialect, spelling):
                return brought
        raise UnknownLevelError(spelling, where=f"{dialect} type")

    def of(self, dtype: object) -> QuantizationLevel:
        """The level of a dtype of torch, numpy, ml_dtypes or jax, told by its own name; nothing is imported.

        Raises:
            UnknownLevelError: if it is no such dtype, or one that is no level.
        """
        kind = dtype if isinstance(dtype, type) else type(dtype)
        library = kind.__module__.partition(".")[0]
        if library == "torch" and kind.__name__ == "dtype":
            return self.from_dialect("torch", str(dtype).removeprefix(TORCH_PREFIX))
        # np.dtype and jax's scalar types have a name of their own or carry a dtype; numpy's scalar types are classes
        named = getattr(dtype, "dtype", dtype)
        name = getattr(named, "name", None) or getattr(dtype, "__name__", None)
        if library in ("numpy", "ml_dtypes", "jax", "jaxlib") and isinstance(name, str):
            return self.from_dialect("numpy", name)
        raise UnknownLevelError(dtype, where="dtype object")

    def register(self, level: QuantizationLevel) -> QuantizationLevel:
        """Make a level known in this process, and give back the known one: it, or an equal one that was there before.

        Raises:
            ReservedLevelError: if it uses a spelling of one of the five or of a shipped level.
            DuplicateLevelError: if it uses a spelling of a different registered level.
        """
        return self.register_all([level])[0]

    def register_all(self, new: Iterable[QuantizationLevel]) -> tuple[QuantizationLevel, ...]:
        """`register` all of several levels, or none.

        Raises:
            ReservedLevelError, DuplicateLevelError: as `register`, also where two of them share a spelling.
        """
        known: list[QuantizationLevel] = []
        with self._lock:
            registered = self._registered
            for level in new:
                known.append(_vetted(level, registered))
                if not (registered.equal(level) or shipped().equal(level)):
                    registered = Index((*registered.levels, level))
            self._registered = registered
        return tuple(known)

    def _vet(self, level: QuantizationLevel) -> QuantizationLevel:
        """The known level that equals this one, or this one itself, which `register` would then accept.

        Raises:
            ReservedLevelError, DuplicateLevelError: as `register`.
        """
        return _vetted(level, self._registered)

    @property
    def installed(self) -> Plugins:
        """What installed distributions bring to this registry; nothing is scanned before something is asked of it."""
        from quantlevels.vocabulary.plugins import Plugins

        with self._lock:
            if self._plugins is None:
                self._plugins = Plugins(self._policy)
            return self._plugins

    def plugins(self, *, load: bool = False) -> tuple[PluginStatus, ...]:
        """What became of each installed plugin, of levels and of schemes, sorted by distribution and entry point.

        Args:
            load: import all of them first, to see which cannot be used; else none is imported.
        """
        return self.installed.status(load=load)

    def refresh(self) -> None:
        """Look for plugins anew at the next miss: for an installation while this process runs."""
        self.installed.refresh()

    def _equal(self, level: QuantizationLevel) -> QuantizationLevel | None:
        brought = self._plugins.equal(level) if self._plugins else None
        return self._registered.equal(level) or shipped().equal(level) or brought

    def known(self, level: QuantizationLevel) -> QuantizationLevel:
        """The known level that equals this one, or this one itself."""
        return self._equal(level) or level


def _vetted(level: QuantizationLevel, registered: Index) -> QuantizationLevel:
    if not isinstance(level, QuantizationLevel):
        raise TypeError(f"a QuantizationLevel is needed, not {level!r}")
    if known := registered.equal(level) or shipped().equal(level):
        return known
    if clash := shipped().clash(level):
        raise ReservedLevelError(*clash)
    if clash := registered.clash(level):
        raise DuplicateLevelError(*clash)
    return level


class _SharedRegistry(Registry):
    """The one everybody imports: a hit is a dict look-up in C, without a frame of Python."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __init_subclass__(cls) -> None:
            raise TypeError("make a Registry of your own")


#: The registry everybody shares.
levels: Final[Registry] = _SharedRegistry()
if not TYPE_CHECKING:
    _SharedRegistry.__getitem__ = levels._table.__getitem__


def pickled(level: QuantizationLevel) -> tuple[Callable[..., QuantizationLevel], tuple[object, ...]]:
    """How a level is pickled: one that comes with quantlevels by name, whatever later versions add; others whole."""
    if shipped().equal(level) is level:
        return shipped_level, (level.name,)
    values = {attribute.name: getattr(level, attribute.name) for attribute in fields(QuantizationLevel)}
    return restored, ({**values, "spellings": dict(level.spellings)},)


def shipped_level(name: str) -> QuantizationLevel:
    """Unpickle a level that comes with quantlevels.

    Raises:
        UnknownLevelError: if this version does not have it yet.
    """
    if level := shipped().find(name):
        return level
    raise UnknownLevelError(name)


def restored(values: Mapping[str, Any]) -> QuantizationLevel:  # Any: the fields `pickled` wrote; the class checks them
    """Unpickle any other level: the known one where an equal one is known, without consulting plugins."""
    return levels.known(QuantizationLevel(**values))
