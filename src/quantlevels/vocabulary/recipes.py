"""Well-known words that are not levels: what recipes are made of, and what to ask for instead of a width or method."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from quantlevels.vocabulary.index import normalized, shipped


class Explanation(NamedTuple):
    """What a word that is not a level stands for."""

    #: what it is and what to ask for, to follow "... is not a level but "
    text: str
    #: the names of the levels to ask for instead
    levels: tuple[str, ...]


_Rule: TypeAlias = Callable[["re.Match[str]"], "Explanation | None"]


def explain_word(word: str) -> Explanation | None:
    """What a word stands for that people use in the place of a level; None if it is not known."""
    if len(word) > _MAX_LENGTH:
        return None
    for pattern, rule in _RULES:
        match = pattern.fullmatch(normalized(word))
        if match:
            return rule(match)
    return None


def _ask(levels: tuple[str, ...]) -> str:
    return f"ask for {' or '.join(map(repr, levels))}"


# -- recipes of llama.cpp, and of people who publish GGUF files --------------------------------------------------------

#: The mixtures of llama.cpp that are not named like one of their types. Source: llama.h ``llama_ftype``
_MIXTURES: Final = frozenset(
    (
        *("q2_k_s", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m"),
        *("iq2_m", "iq3_m", "iq3_xs", "mxfp4_moe"),
    )
)

#: Types that are for activations → the type of the weights in recipes that are named after them.
_OF_WEIGHTS: Final[dict[str, str]] = {"q8_k": "q8_0", "q8_1": "q8_0"}


def _gguf_recipe(match: re.Match[str]) -> Explanation | None:
    base = _OF_WEIGHTS.get(match["base"], match["base"])
    levels = _ggml_levels(base)
    if not levels:
        return None
    recipe = f"{match['base']}{match['size'] or ''}"
    mostly = " or ".join(levels)
    if not match["publisher"] and (recipe in _MIXTURES or recipe == base):
        text = (
            f"a recipe of llama.cpp, a mixture of levels: mostly {mostly}, some tensors at other levels;"
            f" {_ask(levels)}, or check a whole file with `quantlevels verify --recipe {recipe.upper()}`"
        )
    else:
        text = (
            f"a recipe of people who publish GGUF files; its mixture varies per model: mostly {mostly}, some tensors at"
            f" other levels; {_ask(levels)}, or run `quantlevels inspect` on the file to see what it holds"
        )
    return Explanation(text, levels)


def _ggml_levels(base: str) -> tuple[str, ...]:
    """The levels of ggml that a recipe is named after: Q4_K of ``q4_k``, IQ3_XXS and IQ3_S of ``iq3_m``."""
    names = [level.name for level in shipped().levels if "ggml" in level.spellings]
    exact = tuple(name for name in names if normalized(name) == base)
    family = base.partition("_")[0]
    # only IQ recipes lack a type of their name (IQ3_M, IQ2_M); a word like q9_k stays unknown
    return exact or tuple(name for name in names if normalized(name).partition("_")[0] == family and family[0] == "i")


def _gguf_float(match: re.Match[str]) -> Explanation:
    level = shipped().dialects["ggml", match["base"].upper()].name
    return Explanation(f"a file type of llama.cpp; {_ask((level,))}", (level,))


def _removed(match: re.Match[str]) -> Explanation:
    level = match[1].upper()
    return Explanation(
        f"a type that ggml has removed, since llama.cpp now repacks {level} when it loads a model; {_ask((level,))}",
        (level,),
    )


# -- recipes of quantizers ---------------------------------------------------------------------------------------------


def _weights_and_activations(match: re.Match[str]) -> Explanation | None:
    bits = int(match["weights"])
    levels: tuple[str, ...] = (f"Int{bits}",)
    if bits == 8:  # W8A8 is INT8 in compressed-tensors' presets and FP8 in the names of many models
        levels = ("Int8", "Float8E4M3FN")
    return _by_weights(levels, f"{bits}-bit weights, {match['activations']}-bit activations")


def _weights_alone(match: re.Match[str]) -> Explanation | None:
    return _by_weights((_NUMBERS[match["number"]],), f"weights in {match['number'].upper()}")


def _dynamic(match: re.Match[str]) -> Explanation | None:
    bits = match["weights"]
    return _by_weights((f"Int{bits}",), f"{bits}-bit weights, {match['activations']}-bit activations, made at run time")


def _bitsandbytes(match: re.Match[str]) -> Explanation | None:
    levels = {"4": ("NF4", "BNB_FP4"), "8": ("Int8",)}.get(match["bits"], ())
    return _by_weights(levels, f"bitsandbytes, {match['bits']}-bit weights")


def _by_weights(levels: tuple[str, ...], parts: str) -> Explanation | None:
    if not all(map(shipped().find, levels)):  # w9a16: no such width, so the word is not a recipe but a slip
        return None
    return Explanation(f"a recipe of a quantizer ({parts}); for the weights, {_ask(levels)}", levels)


#: The number formats that quantizers' recipes begin with → their levels.
_NUMBERS: Final[dict[str, str]] = {
    "fp8": "Float8E4M3FN",
    "float8": "Float8E4M3FN",
    **{f"int{bits}": f"Int{bits}" for bits in range(1, 9)},
    **{f"uint{bits}": f"UInt{bits}" for bits in range(1, 9)},
    "nvfp4": "NVFP4",
    "mxfp4": "MXFP4",
    "mxfp8": "MXFP8_E4M3",
    "nf4": "NF4",
}


def _bits_and_rest(match: re.Match[str]) -> Explanation | None:
    bits = match["weights"]
    (other,) = shipped().means(match["rest"]).values()
    if bits == "0":
        return Explanation(f"a recipe that quantizes nothing; {_ask((other.name,))}", (other.name,))
    levels = tuple(name for name in (f"Int{bits}", f"UInt{bits}") if shipped().find(name))
    if not levels:
        return None
    text = (
        f"a recipe of transformers.js and MLC: {bits}-bit weights in groups, all other tensors in {other.label};"
        f" for the weights, {_ask(levels)}"
    )
    return Explanation(text, levels)


# -- widths and methods ------------------------------------------------------------------------------------------------


def _width(match: re.Match[str]) -> Explanation | None:
    bits = int(match["bits"])
    names = tuple(level.name for level in shipped().levels if level.bits_per_param == bits)
    if not names:
        return None
    shown = ", ".join(names[:_SHOWN])
    if len(names) > _SHOWN:
        shown += f" ({len(names)} levels, which `quantlevels list --bits {bits}` shows)"
    return Explanation(f"a width that several levels have; ask for one of them: {shown}", names[:_SHOWN])


def _exact_width(match: re.Match[str]) -> Explanation:
    check = f"quantlevels verify --max-bits-per-weight {match['bits']}"
    return Explanation(f"an average over all weights of a model; check a file with `{check}`", ())


def _method(match: re.Match[str]) -> Explanation:
    return Explanation(
        "a quantization method, which packs levels of several widths; ask for the level of the weights, such as 'Int4'",
        (),
    )


def _container(match: re.Match[str]) -> Explanation:
    return Explanation("a container, which holds tensors of any level; ask for the level of the weights", ())


#: Longer than any recipe's name: the patterns below must not run over a whole file that was given as a word.
_MAX_LENGTH: Final = 80
_SHOWN: Final = 6

#: A pattern of a normalised word → what explains it. The first that matches is taken.
_RULES: Final[tuple[tuple[re.Pattern[str], _Rule], ...]] = (
    (re.compile(r"(q4_0|iq4_nl)_\d_\d"), _removed),
    (re.compile(r"(?:all|mostly)_(?P<base>f32|f16|bf16)"), _gguf_float),
    (
        re.compile(
            r"(?:llamafiletype\.|llama_ftype_)?(?:mostly_)?(?P<publisher>ud_|i1_|imat_)?"
            r"(?P<base>iq\d_(?:nl|xxs|xs|s|m)|q\d_[k01]|tq\d_0|mxfp4)(?P<size>_(?:moe|xxs|xs|s|m|l|xl|xxl|p))?"
        ),
        _gguf_recipe,
    ),
    (re.compile(r"w(?P<weights>\d)_?a_?(?:fp|int)?(?P<activations>\d{1,2})(?:(?:_|g\d).*)?"), _weights_and_activations),
    (
        re.compile(
            rf"(?P<number>{'|'.join(_NUMBERS)})_?"
            r"(?:a\d+|wo|dq|weight_?only|dynamic|static|block|pb|pc|per|awq|gptq|sq|kv).*"
        ),
        _weights_alone,
    ),
    (re.compile(r"(?:bnb|bitsandbytes)_?(?P<bits>[48])_?bit(?:_.*)?"), _bitsandbytes),
    (re.compile(r"(?P<activations>\d)da(?P<weights>\d)w(?:_.*)?"), _dynamic),
    (re.compile(r"q(?P<weights>\d)(?P<rest>bf16|f16|f32)(?:_.*)?"), _bits_and_rest),
    (re.compile(r"(?:int_?)?(?P<bits>\d{1,2})_?bits?(?:_.*)?"), _width),
    (re.compile(r"(?P<bits>\d{1,2}(?:\.\d{1,4})?)_?(?:bpw|bits_per_weight)"), _exact_width),
    (
        re.compile(
            r"gptq|gptqmodel|awq|auto_?round|bitsandbytes|bnb|hqq|aqlm|exl[23]|exllama(?:v[23])?|quip#?|quip_sharp|vptq|spqr"
            r"|higgs|eetq|quanto|optimum_quanto|torchao|compressed_tensors|modelopt|quark|smoothquant|marlin|svdquant"
            r"|spinquant|fbgemm|qat"
        ),
        _method,
    ),
    (re.compile(r"gguf|ggml|safetensors|onnx|pytorch"), _container),
)
