"""Names, bits and dialects → level: the registry, and the one everybody shares, `levels`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, overload

from quantlevels.errors import DuplicateLevelError, PluginError, ReservedLevelError, UnknownLevelError
from quantlevels.vocabulary.builtin import BUILTIN, BY_BITS, BuiltinName
from quantlevels.vocabulary.index import Index, five, normalized, own_words, shipped
from quantlevels.vocabulary.level import QuantizationLevel, Spelling, canonical_dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from quantlevels.vocabulary.entry_points import PluginPolicy
    from quantlevels.vocabulary.plugins import Plugins, PluginStatus

__all__ = [
    "Registry",
    "levels",
]

T = TypeVar("T")

_SUGGESTIONS: Final = 3
_MIN_SHARE_OF_BEST: Final = 0.9  # a suggestion less close than this share of the closest one is noise
_MAX_COMPARED: Final = 100  # letters; comparing takes the product of two lengths, and no known spelling is so long
#: A word of n letters has 2^n spellings, and a service may be asked for any of them: the cache must not grow with that.
_MAX_CACHED: Final = 4096


#: Library and class of dtypes whose ``str()`` is a word of a dialect → the dialect.
_DTYPE_CLASSES: Final[dict[tuple[str, str], str]] = {
    ("torch", "dtype"): "torch",
    ("mlx", "Dtype"): "mlx",
    ("tensorflow", "DType"): "numpy",
    ("pyarrow", "DataType"): "arrow",
    ("openvino", "Type"): "openvino",
    ("tensorrt", "DataType"): "tensorrt",
    ("tensorrt_bindings", "DataType"): "tensorrt",
}


class _SpellingCache(dict[str, QuantizationLevel]):
    """Cache of exact spellings; a missing key is resolved by the registry."""

    __slots__ = ("resolve",)

    def __init__(self, resolve: Callable[[str], QuantizationLevel]) -> None:
        self.resolve = resolve

    def __missing__(self, spelling: str) -> QuantizationLevel:
        return self.resolve(spelling)


class Registry:
    """All known levels: the five fixed ones, those registered in process, those shipped, those of installed plugins.

    ``registry[spelling]`` takes any accepted spelling in any case: names, labels, aliases, the words of dialects. They
    are looked up in that order, and a plugin is imported when a look-up needs it. Not a ``Mapping``: a miss raises
    ``UnknownLevelError``. Iteration and ``len`` are over the levels known without importing a plugin. Safe under
    threads.

    Args:
        plugins: which installed distributions may bring levels: ``"all"``, ``"off"``, or the names of some; by default,
            what the environment variable ``QUANTLEVELS_PLUGINS`` says.

    Raises:
        ValueError: for any other string, and for a list that contains one of these two.
    """

    __slots__ = ("__weakref__", "_cache", "_cache_version", "_close", "_lock", "_plugins", "_policy", "_registered")

    def __init__(self, plugins: PluginPolicy | None = None) -> None:
        if plugins is not None:
            from quantlevels.vocabulary.entry_points import checked_policy

            plugins = checked_policy(plugins)
        self._policy = plugins
        self._plugins: Plugins | None = None
        # reentrant: `register_all` holds it when it clears the cache, which takes it again
        self._lock = threading.RLock()
        self._registered = Index(())  # replaced as a whole, never changed, so that readers need no lock
        self._cache = _SpellingCache(self._resolve)
        self._cache_version = 0
        #: unknown spelling → the closest known ones: a file may repeat one mistake a hundred thousand times
        self._close: dict[str, tuple[str, ...]] = {}
        self._clear_cache()

    def __getitem__(self, spelling: str) -> QuantizationLevel:
        """The level that a spelling means.

        Raises:
            UnknownLevelError: if no level has that spelling; it names the closest.
            AmbiguousLevelError: if the spelling means several levels, as ``fp4`` does.
            PluginError: if it is the name of a plugin that cannot be used.
            ConfigError: if a plugin has to be looked for and ``QUANTLEVELS_PLUGINS`` is not valid.
        """
        return self._cache[spelling]

    def _resolve(self, spelling: str) -> QuantizationLevel:
        if not isinstance(spelling, str):
            raise UnknownLevelError(spelling)
        version = self._cache_version  # read before the look-up, which may import a plugin and so change the answers
        level = self._find(spelling)
        with self._lock:
            # A newer version means that levels were added meanwhile, and one of them may take precedence. A subclass of
            # str may define its own equality, and would then answer for other spellings.
            if type(spelling) is str and version == self._cache_version and len(self._cache) < _MAX_CACHED:
                self._cache[spelling] = level
        return level

    def _find(self, spelling: str) -> QuantizationLevel:
        for level in BUILTIN:  # first, since they need nothing loaded
            if normalized(spelling) in map(normalized, own_words(level)):
                return level
        for index in (self._registered, shipped()):
            found = index.find(spelling)
            if found:
                return found
        from quantlevels.vocabulary.plugins import LEVEL_PLUGINS  # here: known names need no plugin

        from_plugin = self._installed.find(LEVEL_PLUGINS, spelling)
        if from_plugin:
            return from_plugin
        # last: a plugin may add a level that has the name of a recipe
        from quantlevels.vocabulary.recipes import explain_word

        recipe = explain_word(spelling)
        if recipe:
            raise UnknownLevelError(spelling, recipe.levels, explanation=recipe.text)
        close = self._close.get(spelling)
        if close is None:
            close = self._closest(spelling)
            if len(self._close) < _MAX_CACHED:
                self._close[spelling] = close
        raise UnknownLevelError(spelling, close)

    def _clear_cache(self) -> None:
        """Forget all spellings but those of the five, which nothing can change."""
        with self._lock:
            self._cache_version += 1
            self._cache.clear()
            self._close.clear()
            for level in BUILTIN:
                self._cache.update(dict.fromkeys(own_words(level), level))

    def _closest(self, spelling: str) -> tuple[str, ...]:
        """The spellings of known levels that are closest to one that is unknown, one for each level."""
        if len(spelling) > _MAX_COMPARED:
            return ()
        from difflib import SequenceMatcher, get_close_matches

        from quantlevels.vocabulary.plugins import LEVEL_PLUGINS

        words: dict[str, tuple[str, str]] = {}
        for level in self:
            for word in own_words(level):
                words.setdefault(normalized(word), (level.name, word))
        for name in self._installed.names(LEVEL_PLUGINS):
            words.setdefault(normalized(name), (name, name))
        # all that are nearly as close as the best, not the best three: 'Int4' beside 'Int8' helps, 'Complex64' does not
        sought = normalized(spelling)
        best = next(iter(get_close_matches(sought, words, n=1)), None)
        if best is None:
            return ()
        cutoff = _MIN_SHARE_OF_BEST * SequenceMatcher(None, best, sought).ratio()
        close = get_close_matches(sought, words, n=2 * _SUGGESTIONS, cutoff=cutoff)
        # one word per level, its closest: from far to close, so that a closer word replaces one that is less close
        closest_of_level = dict(words[word] for word in reversed(close))
        return tuple(reversed(closest_of_level.values()))[:_SUGGESTIONS]

    @overload
    def get(self, spelling: BuiltinName) -> QuantizationLevel: ...
    @overload
    def get(self, spelling: str) -> QuantizationLevel | None: ...
    @overload
    def get(self, spelling: str, default: T) -> QuantizationLevel | T: ...
    def get(self, spelling: str, default: object = None) -> object:
        """The level that a spelling means, or ``default`` if it is unknown.

        Raises:
            AmbiguousLevelError: if the spelling means several levels.
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
            from quantlevels.vocabulary.plugins import LEVEL_GROUP

            self._installed.load(LEVEL_GROUP)
        from_plugins: tuple[QuantizationLevel, ...] = ()
        if self._plugins:
            from quantlevels.vocabulary.plugins import LEVEL_PLUGINS

            from_plugins = self._plugins.loaded(LEVEL_PLUGINS)
        return tuple(dict.fromkeys((*shipped().levels, *self._registered.levels, *from_plugins)))

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
        """The level that a dialect means by a word or a number: ``("ggml", 12)``, ``("safetensors", "BF16")``.

        A word has to be exact, or the dtype as its library prints it: ``("torch", "torch.float16")``.

        Raises:
            UnknownLevelError: if neither quantlevels nor a plugin knows the dialect, or the word in it.
            AmbiguousLevelError: if different plugins mean different levels by it.
        """
        if type(spelling) in (str, int):  # not bool: True is not 1 here
            known = five().in_dialect(dialect, spelling)  # first: for these, the others need not be imported
            level = known or shipped().in_dialect(dialect, spelling) or self._registered.in_dialect(dialect, spelling)
            if level:
                return level
            from quantlevels.vocabulary.plugins import LEVEL_PLUGINS

            from_plugin = self._installed.find_place(LEVEL_PLUGINS, (canonical_dialect(dialect), spelling))
            if from_plugin:
                return from_plugin
        raise UnknownLevelError(spelling, where=f"{dialect} type")

    def of_dtype(self, dtype: object) -> QuantizationLevel:
        """The level of a dtype object, by its own name; no library is imported.

        Args:
            dtype: a dtype of torch, numpy, ml_dtypes, jax, mlx, tensorflow, pyarrow, openvino or tensorrt.

        Raises:
            UnknownLevelError: if it is not such a dtype, or its values are not numbers.
        """
        # by the names of classes: comparing with the classes themselves would import torch
        class_ = dtype if isinstance(dtype, type) else type(dtype)
        library = class_.__module__.partition(".")[0]
        if library in ("numpy", "ml_dtypes", "jax", "jaxlib"):
            # np.dtype has a name, jax's scalar types carry a dtype, numpy's scalar types are classes. ml_dtypes and jax
            # name their dtypes as numpy does, so one dialect serves all four
            named = getattr(dtype, "dtype", dtype)
            name = getattr(named, "name", None) or getattr(dtype, "__name__", None)
            if isinstance(name, str):
                return self.from_dialect("numpy", name)
        elif (library, class_.__name__) in _DTYPE_CLASSES:
            return self.from_dialect(_DTYPE_CLASSES[library, class_.__name__], str(dtype))
        raise UnknownLevelError(dtype, where="dtype object")

    def register(self, level: QuantizationLevel) -> QuantizationLevel:
        """Make a level known in this process; return the known level: this one, or an equal one that was known before.

        Raises:
            ReservedLevelError: if it uses a spelling of one of the five or of a shipped level.
            DuplicateLevelError: if it uses a spelling of a different registered level.
        """
        return self.register_all([level])[0]

    def register_all(self, new: Iterable[QuantizationLevel]) -> tuple[QuantizationLevel, ...]:
        """`register` several levels: all of them, or none if one is refused.

        Raises:
            ReservedLevelError, DuplicateLevelError: as `register`, and if two of them share a spelling.
        """
        known: list[QuantizationLevel] = []
        with self._lock:
            registered = Index(self._registered.levels)  # replaces the old one only if all are accepted
            known += (accepted(level, registered) for level in new)
            self._registered = registered
            self._clear_cache()
        return tuple(known)

    def _vet(self, level: QuantizationLevel) -> QuantizationLevel:
        """The known level that equals this one, or this level itself, if `register` would accept it.

        Raises:
            ReservedLevelError, DuplicateLevelError: as `register`.
        """
        return _vetted(level, self._registered)

    @property
    def _installed(self) -> Plugins:
        """The plugins of this registry, of all groups; the scan comes with the first question, not here."""
        from quantlevels.vocabulary.plugins import Plugins

        with self._lock:
            if self._plugins is None:
                self._plugins = Plugins(self._policy, changed=self._clear_cache)
            return self._plugins

    def plugins(self, *, load: bool = False) -> tuple[PluginStatus, ...]:
        """What became of each installed plugin of every group, sorted by distribution and entry point.

        Args:
            load: import all of them first, to see which cannot be used; otherwise none is imported.
        """
        return self._installed.status(load=load)

    def refresh(self) -> None:
        """Scan for plugins again at the next miss: for an installation while this process runs."""
        self._installed.refresh()

    def _equal(self, level: QuantizationLevel) -> QuantizationLevel | None:
        known = self._registered.equal(level) or shipped().equal(level)
        if known:
            return known
        if self._plugins is None:
            return None
        from quantlevels.vocabulary.plugins import LEVEL_PLUGINS

        return self._plugins.equal(LEVEL_PLUGINS, level)

    def canonical(self, level: QuantizationLevel) -> QuantizationLevel:
        """The known level that equals this one, or this level itself; imports no plugin."""
        return self._equal(level) or level


def accepted(level: QuantizationLevel, registered: Index) -> QuantizationLevel:
    """The known level that equals this one, or this level itself, which is then added to the index.

    Raises:
        ReservedLevelError, DuplicateLevelError: as `Registry.register`, and then the index is as before.
    """
    known = _vetted(level, registered)
    if not (registered.equal(level) or shipped().equal(level)):
        registered.add(level)
    return known


def _vetted(level: QuantizationLevel, registered: Index) -> QuantizationLevel:
    if not isinstance(level, QuantizationLevel):
        raise TypeError(f"a QuantizationLevel is needed, not {level!r}")
    known = registered.equal(level) or shipped().equal(level)
    if known:
        return known
    clash = shipped().clash(level)
    if clash:
        raise ReservedLevelError(*clash)
    clash = registered.clash(level)
    if clash:
        raise DuplicateLevelError(*clash)
    return level


def _shared_registry() -> Registry:
    """The registry that everybody imports, with a class of its own whose ``[]`` is that of its cache.

    Python then looks up a spelling in C. The method of `Registry` would cost a Python frame, three times the look-up.
    """
    shared = Registry()

    def refuse(*_: object, **__: object) -> NoReturn:
        raise TypeError("this is the class of the one shared registry: make a Registry of your own")

    shared.__class__ = type(
        Registry.__name__,
        (Registry,),
        {
            "__slots__": (),
            "__doc__": Registry.__doc__,
            "__getitem__": shared._cache.__getitem__,
            "__init__": refuse,
            "__init_subclass__": refuse,
        },
    )
    return shared


#: The registry everybody shares.
levels: Final[Registry] = _shared_registry()
