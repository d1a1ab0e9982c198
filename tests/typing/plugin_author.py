"""The module that an entry point of the group ``quantlevels.levels`` names."""

from typing import Final

from quantlevels import Block, QuantizationLevel, ReservedLevelError, UnknownLevelError, levels

INT4_ACME: Final = QuantizationLevel(
    name="Int4Acme",
    bits_per_param=4,
    label="INT4 (Acme)",
    block=Block(weights=64, bits=272),
    aliases=("acme4",),
    spellings={"acme": ("i4a", 7)},
    kind="int",
    summary="4-bit integers, a scale to 64 of them",
    source="Acme handbook 3",
)


def known(spelling: str) -> QuantizationLevel | None:
    try:
        return levels[spelling]
    except UnknownLevelError as error:
        suggestions: tuple[str, ...] = error.suggestions
        print(error.value, *suggestions)
        return None


def registered() -> QuantizationLevel:
    try:
        return levels.register(INT4_ACME)
    except ReservedLevelError as error:
        owner: str = error.owner
        return levels[owner]
