"""What a checkpoint is to become, and which of it cannot be."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, final

from attrs import frozen

from quantlevels.errors import SizingError
from quantlevels.inspection.sizing.storage import GGUF, storage_for
from quantlevels.llamacpp import RECIPES, recipe_named
from quantlevels.vocabulary.builtin import FP16
from quantlevels.vocabulary.registry import levels

if TYPE_CHECKING:
    from quantlevels.scheme import Storage
    from quantlevels.vocabulary.layout import Layout
    from quantlevels.vocabulary.level import QuantizationLevel


@final
@frozen(kw_only=True)
class Target:
    """What a checkpoint is to become.

    Args:
        level: of the matrices.
        group_size: weights that share a scale along a row; None for what is usual in the scheme.
        scale: the level of a scale.
        zero_point: the level of a zero point; None if none is stored, or if the scheme always stores one.
        keep: (glob, level): modules that get another level, the first glob that matches deciding.
        scheme: a scheme that says how it stores, or a format of one; None for codes, scales and zero points as plain
            padded rows.
        recipe: a recipe of llama.cpp, such as ``Q4_K_M``, which gives each tensor its level; the scheme is gguf.
    """

    level: QuantizationLevel
    group_size: int | None = None
    scale: QuantizationLevel = FP16
    zero_point: QuantizationLevel | None = None
    keep: tuple[tuple[str, QuantizationLevel], ...] = ()
    scheme: str | None = None
    recipe: str | None = None

    @classmethod
    def of_recipe(cls, word: str, keep: tuple[tuple[str, QuantizationLevel], ...] = ()) -> Target:
        """A GGUF file by a recipe of llama-quantize.

        Args:
            word: ``Q4_K_M``, in any case.
            keep: as above.

        Raises:
            UnknownLevelError: if llama-quantize has no recipe of that name.
        """
        recipe = recipe_named(word)
        return cls(level=levels[RECIPES[recipe]], scheme=GGUF, recipe=recipe, keep=keep)

    @property
    def layout(self) -> QuantizationLevel | Layout:
        """The level, in groups if there are any."""
        if self.group_size is None:
            return self.level
        return self.level.grouped(self.group_size, scale=self.scale, zero_point=self.zero_point or 0)

    def kept_level(self, name: str) -> QuantizationLevel | None:
        """The level of the first glob that matches a tensor's name or its module's; None if no glob matches."""
        return next((level for glob, level in self.keep if matches(name, glob)), None)

    def check(self) -> None:
        """Refuse what the level or the scheme leaves no choice in.

        Raises:
            UnknownLevelError: if no scheme is called so.
            SizingError: for a level that the scheme does not store, or an option that the scheme does not leave open.
        """
        if self.scheme == GGUF:
            self._check_gguf()
            return
        # what is asked for and has no effect is refused: the size would be right, and not the one that was meant
        storage = storage_for(self.scheme, self.level) if self.scheme else None
        self._check_groups(storage)
        if self.zero_point and storage and storage.zero_point != "choice":
            raise SizingError(f"{self.scheme} leaves no choice of a zero point")
        if self.zero_point and not self.group_size and not storage:
            raise SizingError("a zero point needs a group size")

    def _check_gguf(self) -> None:
        for level in (self.level, *(kept for _, kept in self.keep)):
            if "ggml" not in level.spellings:
                raise SizingError(f"gguf has no type for {level.name}")
        if self.group_size:
            raise SizingError(f"{self.level.name} in gguf has no groups of a size to choose")
        if self.zero_point:
            raise SizingError("gguf leaves no choice of a zero point")

    def _check_groups(self, storage: Storage | None) -> None:
        has_choice = self.level.block.weights == 1 and (storage is None or storage.grouped)
        if self.group_size and not has_choice:
            place = f" in {self.scheme}" if self.scheme else ""
            raise SizingError(f"{self.level.name}{place} has no groups of a size to choose")


def matches(name: str, glob: str) -> bool:
    """Whether a glob matches the name of a tensor, or of its module."""
    return fnmatchcase(name, glob) or fnmatchcase(name.removesuffix(".weight"), glob)
