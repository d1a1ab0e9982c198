"""What reading the values gives: records, importable without numpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, NotRequired, TypeAlias, TypedDict, final

from attrs import evolve, frozen

if TYPE_CHECKING:
    from quantlevels.findings import Finding

Mode: TypeAlias = Literal["sample", "all"]
MODES: tuple[Mode, ...] = ("sample", "all")  # as `Mode` has them: get_args would cost the checkers their exact type
#: How a precision was found; see `Effective`.
PrecisionRule: TypeAlias = Literal["distinct", "mantissas", "significant-bits", "lattice", "unused-codes"]


def check_mode(mode: str) -> Mode:
    """A mode of reading.

    Raises:
        ValueError: for another word.
    """
    for known in MODES:  # gives back the known word, whose type is exact; `in` would leave a str
        if mode == known:
            return known
    raise ValueError(f"values must be {' or '.join(map(repr, MODES))}, not {mode!r}")


class EffectiveRecord(TypedDict):
    """Weights that hold less than their level could: a level, its group or block, and how much was read."""

    stored: str
    bits: int
    rule: PrecisionRule
    level: str | None
    levels: int | None
    group_size: int | None
    block: list[int] | None
    weights: int
    parameters: int
    values_read: int


class DamageRecord(TypedDict):
    """One damaged tensor: how many values, where the first is, and how many values were read."""

    code: str
    tensor: str
    count: int
    first: list[int] | None
    offset: int | None
    values_read: int


# a call, not a class: ``from`` is a keyword
ChecksumRecord = TypedDict(
    "ChecksumRecord", {"path": str, "algorithm": str, "expected": str, "actual": str, "from": str}
)
ChecksumRecord.__doc__ = """The digest that a file should have, where that one is from, and the digest that it has."""


class ReadRecord(TypedDict):
    """How much was read of the weights of one level."""

    level: str
    weights: int
    bytes: int
    bytes_read: int


class ValuesRecord(TypedDict):
    """What the weights themselves show: `quantlevels inspect --values`."""

    mode: Mode
    bytes_read: int
    bytes: int
    complete: bool
    read: list[ReadRecord]
    effective: list[EffectiveRecord]
    damage: list[DamageRecord]
    checksums: list[ChecksumRecord]
    unread: NotRequired[list[str]]


@final
@frozen(kw_only=True)
class Effective:
    """Weights that hold less than their level could, all in the same way.

    Args:
        stored: name of the level they are stored at.
        bits: nominal bits that hold every value that was read.
        rule: how it shows. ``distinct``: so many values at most in each group. ``mantissas``: so many fractions at most
            in each block. ``significant-bits``: no value has more. ``lattice``: whole multiples of an FP16 scale per
            group, 127 the largest. ``unused-codes``: so many codes at most are in use.
        level: the level, if the rule fixes it.
        levels: most distinct values, fractions or codes; None if the rule counts none.
        group_size: values along a row that share a scale; None for whole rows, blocks and tensors.
        block: rows and columns that share a scale.
        by_columns: whether groups run along columns, of which a tile was read.
        weights, parameters: how many weights, and their elements.
        values_read: of these elements.
    """

    stored: str
    bits: int
    rule: PrecisionRule
    level: str | None = None
    levels: int | None = None
    group_size: int | None = None
    block: tuple[int, int] | None = None
    by_columns: bool = False
    weights: int = 1
    parameters: int
    values_read: int

    def to_record(self) -> EffectiveRecord:
        """As JSON has it."""
        return {
            "stored": self.stored,
            "bits": self.bits,
            "rule": self.rule,
            "level": self.level,
            "levels": self.levels,
            "group_size": self.group_size,
            "block": None if self.block is None else list(self.block),
            "weights": self.weights,
            "parameters": self.parameters,
            "values_read": self.values_read,
        }


@final
@frozen(kw_only=True)
class Damage:
    """What is wrong in one tensor, or in one region of a file.

    Args:
        code: of the finding.
        tensor: its name.
        message: one line with the evidence, which does not name the tensor.
        count: how many values, blocks or bytes.
        first: indices of the first one, if it has any.
        offset: byte in the file of the first one.
        values_read: elements of the tensor that were read.
    """

    code: str
    tensor: str
    message: str
    count: int
    first: tuple[int, ...] | None = None
    offset: int | None = None
    values_read: int

    def to_record(self) -> DamageRecord:
        """As JSON has it."""
        return {
            "code": self.code,
            "tensor": self.tensor,
            "count": self.count,
            "first": None if self.first is None else list(self.first),
            "offset": self.offset,
            "values_read": self.values_read,
        }


@final
@frozen(kw_only=True)
class Checksum:
    """A digest of a file beside the one that it should have.

    Args:
        path: of the file, within the folder of the checkpoint.
        algorithm: ``sha256`` or ``git-sha1``.
        expected, actual: in hexadecimal.
        origin: where the expected one is from: ``blob-name``, ``download-metadata``, ``sidecar``, ``lfs-pointer``.
        edited: whether the file was changed after its digest was recorded.
    """

    path: str
    algorithm: str
    expected: str
    actual: str
    origin: str
    edited: bool = False

    @property
    def matches(self) -> bool:
        """Whether the file is the one that the digest was made of."""
        return self.expected == self.actual

    def to_record(self) -> ChecksumRecord:
        """As JSON has it."""
        return {
            "path": self.path,
            "algorithm": self.algorithm,
            "expected": self.expected,
            "actual": self.actual,
            "from": self.origin,
        }


@final
@frozen(kw_only=True)
class LevelRead:
    """How much was read of the weights of one level."""

    level: str
    weights: int
    nbytes: int
    bytes_read: int


@final
@frozen(kw_only=True)
class Values:
    """What the weights of a checkpoint show.

    Args:
        mode: whether a sample was read, or all.
        bytes_read: of all files.
        nbytes: bytes of all tensors.
        complete: whether every byte of every tensor was read.
        read: how much was read per level.
        effective: weights that hold less than their level could.
        damage: damaged tensors.
        checksums: digests that were compared.
        unread: names of tensors whose values cannot be read: they are not stored as a plain array, or are in a remote
            PyTorch archive, of which only the directory is fetched.
        findings: QL601 to QL623, at most one per code.
    """

    mode: Mode
    bytes_read: int
    nbytes: int
    complete: bool
    read: tuple[LevelRead, ...] = ()
    effective: tuple[Effective, ...] = ()
    damage: tuple[Damage, ...] = ()
    checksums: tuple[Checksum, ...] = ()
    unread: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def placed_in(self, place: str) -> Values:
        """The values of one model of several, with its path before the names."""
        return evolve(
            self,
            damage=tuple(evolve(damage, tensor=f"{place}/{damage.tensor}") for damage in self.damage),
            checksums=tuple(evolve(checksum, path=f"{place}/{checksum.path}") for checksum in self.checksums),
            unread=tuple(f"{place}/{name}" for name in self.unread),
            findings=tuple(evolve(finding, where=f"{place}/{finding.where}") for finding in self.findings),
        )

    @classmethod
    def combined(cls, mode: Mode, parts: Sequence[Values]) -> Values:
        """The values of several models that belong together."""
        return cls(
            mode=mode,
            bytes_read=sum(part.bytes_read for part in parts),
            nbytes=sum(part.nbytes for part in parts),
            complete=all(part.complete for part in parts),
            read=tuple(chain.from_iterable(part.read for part in parts)),
            effective=tuple(chain.from_iterable(part.effective for part in parts)),
            damage=tuple(chain.from_iterable(part.damage for part in parts)),
            checksums=tuple(chain.from_iterable(part.checksums for part in parts)),
            unread=tuple(chain.from_iterable(part.unread for part in parts)),
            findings=tuple(chain.from_iterable(part.findings for part in parts)),
        )

    def to_record(self) -> ValuesRecord:
        """The ``values`` part of the inspection record."""
        record: ValuesRecord = {
            "mode": self.mode,
            "bytes_read": self.bytes_read,
            "bytes": self.nbytes,
            "complete": self.complete,
            "read": [
                {
                    "level": level.level,
                    "weights": level.weights,
                    "bytes": level.nbytes,
                    "bytes_read": level.bytes_read,
                }
                for level in self.read
            ],
            "effective": [effective.to_record() for effective in self.effective],
            "damage": [damage.to_record() for damage in self.damage],
            "checksums": [checksum.to_record() for checksum in self.checksums],
        }
        if self.unread:
            record["unread"] = list(self.unread)
        return record
