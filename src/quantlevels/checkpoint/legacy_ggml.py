"""Models of ggml before GGUF: whisper.cpp's files, which still have this form, and those of llama.cpp and others.

A file is a magic, some settings, perhaps a filter bank, a vocabulary, and tensors up to its end. Nothing in it names
the program, so each known form is tried: the right one is the one whose tensors end exactly where the file ends.

Source: whisper.cpp 1.8.2 ``src/whisper.cpp`` (``whisper_model_load``); llama.cpp b1000 ``llama.cpp``
(``llama_file_loader``); ggml ``examples/{gpt-2,gpt-j,gpt-neox}/main.cpp``; rwkv.cpp ``rwkv_file_format.inc``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from quantlevels.checkpoint.cursor import Cursor
from quantlevels.container import Contents, Places, Tensor, UnknownType
from quantlevels.errors import CheckpointError
from quantlevels.vocabulary.level import BITS_PER_BYTE, Block, QuantizationLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlevels.container import Source, TypeLookup


class _Form(NamedTuple):
    """How the files of one program are laid out."""

    program: str
    magic: int
    #: values of the version after the magic; empty if the form has none
    versions: tuple[int, ...]
    #: the settings, each a 32-bit integer, in their order
    settings: tuple[str, ...]
    #: the setting that holds the type most weights have, and perhaps the version of its blocks
    type_setting: str
    #: the setting that holds the width of the embedding, of which there is a row per word
    width: str
    #: whether a filter bank of mel frequencies follows the settings
    mel: bool = False
    #: whether the vocabulary is there, is preceded by its size, and has a score for each word
    vocabulary: bool = True
    counted_vocabulary: bool = False
    scores: bool = False
    #: bytes to which the data of each tensor is aligned
    alignment: int = 1
    #: the version of blocks, if the version of the file tells it: file version → version of blocks
    block_versions: Mapping[int, int] | None = None
    #: number of a type → ggml's number, if the program has numbers of its own
    types: Mapping[int, int] | None = None


_GGML: Final = 0x67676D6C
_GGMF: Final = 0x67676D66
_GGJT: Final = 0x67676A74
MAGICS: Final = tuple(magic.to_bytes(4, "little") for magic in (_GGML, _GGMF, _GGJT))

_LLAMA: Final = ("n_vocab", "n_embd", "n_mult", "n_head", "n_layer", "n_rot", "ftype")
_WHISPER: Final = (
    *("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels", "ftype"),
)
_GPT: Final = ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer")
#: rwkv.cpp counted types by itself: ``enum rwkv_type``
_RWKV_TYPES: Final = {0: 0, 1: 1, 2: 2, 3: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8}
_FORMS: Final = (
    _Form("whisper.cpp", _GGML, (), _WHISPER, "ftype", "n_text_state", mel=True, counted_vocabulary=True),
    _Form("llama.cpp", _GGML, (), _LLAMA, "ftype", "n_embd", block_versions={0: 0}),
    _Form("llama.cpp", _GGMF, (1,), _LLAMA, "ftype", "n_embd", scores=True, block_versions={1: 0}),
    _Form(
        "llama.cpp", _GGJT, (1, 2, 3), _LLAMA, "ftype", "n_embd", scores=True, alignment=32,
        block_versions={1: 0, 2: 1, 3: 2},
    ),
    _Form("gpt-2", _GGML, (), (*_GPT, "ftype"), "ftype", "n_embd", counted_vocabulary=True),
    _Form("gpt-j", _GGML, (), (*_GPT, "n_rot", "ftype"), "ftype", "n_embd", counted_vocabulary=True),
    _Form("gpt-neox", _GGML, (), (*_GPT, "n_rot", "par_res", "ftype"), "ftype", "n_embd"),
    _Form(
        "rwkv.cpp", _GGMF, (100, 101), ("n_vocab", "n_embed", "n_layer", "data_type"), "data_type", "n_embed",
        vocabulary=False, block_versions={100: 0, 101: 2}, types=_RWKV_TYPES,
    ),
)  # fmt: skip
#: the version of blocks is this part of a file type: ``GGML_QNT_VERSION_FACTOR``
_VERSION_FACTOR: Final = 1000
_CURRENT_BLOCKS: Final = 2
#: ggml type → its name and block before version 2, when scales were FP32, or the type existed: ggml of May 2023
_OLD_BLOCKS: Final = {
    2: ("Q4_0_V1", Block(32, 160)),
    3: ("Q4_1_V1", Block(32, 192)),
    4: ("Q4_2_V1", Block(16, 80)),
    5: ("Q4_3_V1", Block(16, 96)),
    8: ("Q8_0_V1", Block(32, 288)),
}
_MOST_DIMS: Final = 4
# Bounds that no real model comes near. They tell the forms apart early: a file read in the wrong form yields such
# numbers within its first few fields.
_LONGEST_NAME: Final = 1 << 8
_LONGEST_WORD: Final = 1 << 16
_MOST_SETTINGS: Final = 1 << 24


def read_legacy_ggml(source: Source, level_of: TypeLookup) -> Contents:
    """The tensors of a file in one of the forms above; shapes are of logical weights, rows last.

    Raises:
        CheckpointError: if no form fits: malformed, truncated, or of a program that is not known.
    """
    (magic,) = Cursor(source).unpack("I")
    problems: list[tuple[int, CheckpointError]] = []
    for form in _FORMS:
        if form.magic == magic:
            try:
                return _read(source, form, level_of)
            except CheckpointError as problem:
                problems.append((problem.offset or 0, problem))
    # the form that came furthest is most likely the one that was meant
    _, closest = max(problems, key=lambda problem: problem[0])
    reason = f"is a ggml model of a form that is not known, or it is damaged: {closest.reason}"
    raise CheckpointError(source.path, reason, closest.offset) from closest


def _read(source: Source, form: _Form, level_of: TypeLookup) -> Contents:
    cursor = Cursor(source, 4)
    version = 0
    if form.versions:
        (version,) = cursor.unpack("I")
        if version not in form.versions:
            raise CheckpointError(source.path, f"is of version {version} of {form.program}'s format", 4)
    settings = dict(zip(form.settings, cursor.unpack("i" * len(form.settings)), strict=True))
    if not all(0 <= value < _MOST_SETTINGS for value in settings.values()):
        raise CheckpointError(source.path, f"has settings that {form.program} cannot have: {settings}", 4)
    if form.mel:
        rows, columns = cursor.unpack("ii")
        if min(rows, columns) < 0:
            raise CheckpointError(source.path, "has a filter bank of negative size", cursor.offset)
        cursor.skip(4 * rows * columns)
    if form.vocabulary:
        _skip_vocabulary(cursor, form, settings["n_vocab"])
    # forms whose files say no version of blocks put it into the file type
    file_type = settings[form.type_setting]
    block_version = (form.block_versions or {}).get(version, file_type // _VERSION_FACTOR)
    tensors: list[Tensor] = []
    offsets: list[int] = []
    while cursor.remaining:
        tensors.append(_tensor(cursor, form, block_version < _CURRENT_BLOCKS, level_of))
        offsets.append(cursor.offset - tensors[-1].nbytes)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise CheckpointError(source.path, "has two tensors with the same name", cursor.offset)
    # two forms may both end at the end of the file; only the right one gives the embedding its two sizes
    embedding = settings["n_vocab"], settings[form.width]
    if all(tensor.shape != embedding for tensor in tensors):
        raise CheckpointError(
            source.path,
            f"has no embedding of shape {list(embedding)}, as {form.program} needs",
            cursor.offset,
        )
    return Contents(
        tensors=tensors,
        places=Places.in_file(source.name, offsets),
        metadata={"program": form.program, "version": version, **settings},
    )


def _skip_vocabulary(cursor: Cursor, form: _Form, size: int) -> None:
    if form.counted_vocabulary:
        (size,) = cursor.unpack("i")
    least = 8 if form.scores else 4
    cursor.expect(max(size, 0), least, "words")
    for _ in range(size):
        (length,) = cursor.unpack("I")
        if length > _LONGEST_WORD:
            raise CheckpointError(cursor.source.path, f"has a word of {length:,} bytes", cursor.offset)
        cursor.skip(length + (4 if form.scores else 0))


def _tensor(cursor: Cursor, form: _Form, blocks_are_old: bool, level_of: TypeLookup) -> Tensor:
    path, here = cursor.source.path, cursor.offset
    rank, length, number = cursor.unpack("iii")
    if not 0 <= rank <= _MOST_DIMS or not 0 < length <= _LONGEST_NAME:
        raise CheckpointError(path, f"has a tensor of {rank} dimensions with a name of {length} bytes", here)
    shape = cursor.unpack("i" * rank)[::-1]
    name = cursor.text(length, "the name of a tensor")
    if min(shape, default=1) < 0:
        raise CheckpointError(path, f"{name} has the shape {list(shape)}", here)
    number = (form.types or {}).get(number, number)
    dtype, block = _type(number, blocks_are_old, level_of)
    if block is None:
        raise CheckpointError(path, f"{name} has the type {number}, which ggml does not have", here)
    elements = math.prod(shape)
    row = shape[-1] if shape else 1
    if row % block.weights:
        raise CheckpointError(path, f"{name} has rows of {row:,}, not a multiple of {block.weights}", here)
    cursor.skip(-cursor.offset % form.alignment)  # the bytes to the next multiple
    nbytes = elements // block.weights * block.bits // BITS_PER_BYTE
    cursor.skip(nbytes)
    return Tensor(name, dtype, shape, nbytes)


def _type(
    number: int, blocks_are_old: bool, level_of: TypeLookup
) -> tuple[QuantizationLevel | UnknownType, Block | None]:
    """The level of a type's number and its block; the block is None if ggml has no such type."""
    if blocks_are_old and number in _OLD_BLOCKS:
        name, block = _OLD_BLOCKS[number]
        return level_of("ggjt", name), block
    level = level_of("ggml", number)
    return level, level.block if isinstance(level, QuantizationLevel) else None
