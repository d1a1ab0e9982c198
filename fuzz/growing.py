"""Inputs of which one part can be made as large as wanted: what the scaling target measures.

Each builder gets the same source of choices for every size and draws all of them first: inputs of two sizes differ in
the size of one part alone.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, Literal, TypeAlias

from tests.writers import distributed_list, framed, gguf_text, onnx_field, onnx_model, torch_archive, torch_pickle

from fuzz.configs import CONFIGS
from fuzz.containers import CONTAINERS
from quantlevels.scheme import COMMON_SIDES
from quantlevels.schemes.catalogue import CATALOGUE

#: name of a file → its content; the first one is inspected, or the folder of all if that is named ""
Files: TypeAlias = dict[str, bytes]
Build: TypeAlias = Callable[[Random, int], Files]
Names: TypeAlias = Callable[[int], str]

_SUFFIXES: Final = sorted(
    {suffix for row in CATALOGUE for packing in row.packings() for suffix in packing.suffixes}
    | COMMON_SIDES.keys()
    | {"weight", "bias", "weight_scale_inv", "absmax", "quant_map", "centroids", "quant_state.bitsandbytes__nf4"}
)
_MODULES: Final = (
    *(
        "model",
        "layers",
        "mlp",
        "experts",
        "up_proj",
        "lm_head",
        "centroids",
        "weight",
        "absmax",
        "qweight",
        "original",
    ),
    *(
        "parametrizations",
        "base_layer",
        "0",
        "1",
        "blk",
        "norm",
        "_data",
        "visual",
        "text_model",
        "é",
        "",
        "*",
        "re:.*",
    ),
)
_DTYPES: Final = ("U8", "I8", "I32", "F16", "BF16", "F32", "F8_E4M3", "F8_E8M0", "I64", "BOOL", "F4", "Q9")


def _cycled(words: Sequence[str], number: int) -> str:
    return words[number % len(words)]


def names(random: Random) -> Names:
    """A way to name many things: dotless, deep, alike, made of the words that quantizers use."""
    words = random.choices(_MODULES, k=random.randrange(1, 6))
    suffixes = random.sample(_SUFFIXES, k=random.choice([1, 2, 3, 8]))
    head, deep = ".".join(words), random.choice([2, 10, 45, 200])
    fill, module = (
        random.choice(["x", "a.", "absmax.", "experts.", "_", "é", "[", "{", "\\", "0"]),
        random.choice(_MODULES),
    )
    styles: tuple[Names, ...] = (
        lambda i: f"{i}",
        lambda i: f"w{i}",
        lambda i: f"{head}.{i}.weight",
        lambda i: f"{head}.layers.{i // len(suffixes)}.{module}.{_cycled(suffixes, i)}",
        lambda i: f"{head}.p{i // len(suffixes)}_{_cycled(suffixes, i)}",
        lambda i: f"{head}.p{i // len(suffixes)}.{_cycled(suffixes, i)}_{_cycled(suffixes, i + 1)}",
        lambda i: f"layers.{i // 64}.experts.{i % 64}.{module}.{_cycled(suffixes, i)}",
        lambda i: fill * deep + f"{i}",
        lambda i: f"{i}" + fill * deep,
        lambda i: f"{fill * deep}.{i}.{_cycled(suffixes, i)}",
        lambda i: ".".join(f"{i:b}") + f".{_cycled(suffixes, i)}",
        lambda i: f"{i:b}".replace("0", ".").replace("1", "a"),
        lambda i: "." * (i % 60) + f"{i}",
        lambda i: f"{_cycled(words, i)}{i}.{_cycled(words, i // 7)}.{_cycled(suffixes, i // 3)}",
        lambda i: f"model.layers.{i}.{module}.{_cycled(suffixes, i)}.{_cycled(suffixes, i // 2)}",
    )
    return random.choice(styles)


def long_text(random: Random) -> Callable[[int], str]:
    """A way to make one long text."""
    unit = random.choice(
        [
            *(f"{suffix}{separator}" for suffix in (*_SUFFIXES[:20], *_MODULES) for separator in (".", "_", "")),
            *(
                ".",
                "a.",
                "0.",
                "..",
                "*",
                "a*",
                "?",
                "[",
                "(",
                "(a",
                "(?:a|",
                "|",
                "{2}",
                "re:",
                ".*",
                "\\",
                '"',
                "\n",
                "é",
            ),
            *("\0", "{", "[[", "1", "layers.0.", "\ud7ff", "\U0001f600", "%", "<", "&amp;", "/", "../", ","),
        ]
    )
    end = random.choice(["", "weight", ".weight", "$", "_scale", ")", "b", ".qweight"])
    return lambda n: unit * (n // 2 + 1) + end


# JSON


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # Any: JSON, keys and positions
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))


def grown_json(random: Random, document: Any, n: int) -> str:  # Any: JSON
    """A JSON text like this one, with one place in it made large."""
    document = copy.deepcopy(document)
    path = random.choice([place for place in _places(document) if place])
    *above, last = path
    owner = document
    for key in above:
        owner = owner[key]
    value = owner[last]
    named, text, other = names(random), long_text(random), random.choice(["x", 1, None, [], {}, [0], {"a": 1}, 0.5])
    way = random.randrange(12)
    if isinstance(value, list) and way < 6:
        element = value[0] if value and way % 2 else None
        owner[last] = value + [named(i) if element is None else element for i in range(n)]
    elif isinstance(value, dict) and way < 6:
        element = next(iter(value.values()), other) if way % 2 else other
        owner[last] = {**value, **{named(i): element for i in range(n)}}
    elif way == 6:
        owner[last] = text(n)
    elif way == 7:
        owner[last] = [other] * n
    elif way == 8:
        owner[last] = {named(i): value for i in range(n)}
    elif way == 9:
        prefix = random.choice(["re:", "re:.*", "", "*"])
        owner[last] = [f"{prefix}{named(i)}" for i in range(n)]
    elif way == 10:
        mark = "\0place\0"
        owner[last] = mark
        opening, closing = random.choice([("[", "]"), ('{"a":', "}"), ('{"a":1,"b":[', "]}")])
        return json.dumps(document).replace(json.dumps(mark), opening * n + "1" + closing * n)
    else:
        mark = "\0place\0"
        owner[last] = mark
        number = random.choice(
            ["1" * n, "-" + "9" * n, "0." + "3" * n, "1e" + "0" * n + "1", '"' + "\\u00e9" * n + '"']
        )
        return json.dumps(document).replace(json.dumps(mark), number)
    return json.dumps(document, ensure_ascii=random.random() < 0.5)


def _entry(dtype: str = "U8", shape: Iterable[int] = (0,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]}


def _header(document: object, padding: bytes = b"") -> bytes:
    return framed(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass") + padding)


def _tensors(random: Random) -> Callable[[int], dict[str, object]]:
    named, dtypes = names(random), random.choices(_DTYPES[:-1], k=random.choice([1, 2, 5]))
    shapes: tuple[Callable[[int], list[int]], ...] = (
        lambda i: [0],
        lambda i: [i, 0],
        lambda i: [0, i % 7],
        lambda i: [0] * (i % 8 + 1),
    )
    shape = random.choice(shapes)
    return lambda n: {named(i): _entry(_cycled(dtypes, i), shape(i)) for i in range(n)}


def safetensors_tensors(random: Random, n: int) -> Files:
    """Many tensors, beside a config of any method or none."""
    tensors, config = _tensors(random), random.choice([None, *CONFIGS])
    files = {"model.safetensors": _header(tensors(n))}
    if config is not None:
        files["config.json"] = json.dumps({"quantization_config": config}).encode()
    return files


def safetensors_text(random: Random, n: int) -> Files:
    """One long name, or the same as metadata or as a dtype."""
    text, suffix, place = long_text(random)(n), random.choice(["", *_SUFFIXES]), random.randrange(4)
    header: dict[str, object] = {f"{text}{suffix}": _entry(), "lm_head.weight": _entry("F16")}
    if place == 1:
        header["__metadata__"] = {"format": text, "_quantization_metadata": text}
    elif place == 2:
        header["w"] = _entry(text)
    return {"model.safetensors": _header(header, b" " * n if place == 3 else b"")}


def safetensors_metadata(random: Random, n: int) -> Files:
    """Much metadata: many keys, or a section as JSON in one of them."""
    key = random.choice(["_quantization_metadata", "quantization_config", "config", "format"])
    named, section = names(random), random.choice(CONFIGS)
    metadata = {named(i): f"{i}" for i in range(n)} if random.random() < 0.3 else {key: grown_json(random, section, n)}
    return {"model.safetensors": _header({"__metadata__": metadata, "w": _entry("F16")})}


def safetensors_entry(random: Random, n: int) -> Files:
    """One entry with a part that is large, or one name many times."""
    if random.random() < 0.3:
        entry = json.dumps(_entry())
        return {"model.safetensors": framed(("{" + ",".join([f'"w":{entry}'] * n) + "}").encode())}
    return {"model.safetensors": framed(grown_json(random, {"w": _entry(), "model.b.weight": _entry()}, n).encode())}


def config_beside_tensors(random: Random, n: int) -> Files:
    """A config of any method with one large place, beside tensors that are as many, or few."""
    config, tensors, many = random.choice(CONFIGS), _tensors(random), random.choice([2, 50, 0])
    file = random.choice(
        ["config.json", "config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json"]
    )
    model = {"torch_dtype": "bfloat16", "hidden_size": 64, "quantization_config": config}
    text = grown_json(random, model if file == "config.json" else config, n)
    return {"": b"", file: text.encode(), "model.safetensors": _header(tensors(many or n // 4))}


_PATTERNS: Final = (
    *("*{}*", "re:.*{}.*", "re:^{}$", "{}.*", "*.{}", "re:.*\\.{}\\..*", "re:(?:{}|b).*", "re:[a-z]*{}", "re:(?!{}).*"),
    *(
        "re:.*{}.*weight$",
        "{}?",
        "[ab]{}*",
        "re:(.*)?{}(.*)?",
        "re:.*(layers|experts)\\.{}.*",
        "+:.*{}.*",
        "-:.*{}.*",
        "{}",
    ),
)


def patterns(random: Random, n: int) -> Files:
    """Many patterns over many names: as targets of groups, overrides, and lists of what is left out."""
    named, tensors = names(random), _tensors(random)
    shapes, many = random.sample(_PATTERNS, k=random.choice([1, 2, 4])), random.choice([1, 2, 8])
    found = [_cycled(shapes, i).format(named(i)) for i in range(n)]
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 128}
    section: dict[str, object] = random.choice(
        [
            {"config_groups": {"g": {"targets": ["Linear"], "weights": weights}}, "ignore": found},
            {"config_groups": {"g": {"targets": found, "weights": weights}}},
            {"config_groups": {f"{i}": {"targets": [name], "weights": weights} for i, name in enumerate(found)}},
            {"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {name: {"bits": 8} for name in found}},
            {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": found},
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": found},
            {"quant_algo": "MIXED_PRECISION", "quantized_layers": {name: {"quant_algo": "NVFP4"} for name in found}},
            {"quant_method": "quark", "exclude": found, "global_quant_config": {"weight": {"dtype": "int4"}}},
            {"quant_method": "quark", "layer_quant_config": {name: {"weight": {"dtype": "int4"}} for name in found}},
            {"quant_method": "fp8", "ignored_layers": found, "modules_to_not_convert": found},
            {"quant_method": "torchao", "quant_type": {"default": {"_type": "X"}}, "modules_to_not_convert": found},
            {"group_size": 64, "bits": 4, **{name: {"bits": 8, "group_size": 32} for name in found}},
            {"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": found},
            {
                "quant_method": "auto-round",
                "bits": 4,
                "group_size": 128,
                "extra_config": {name: {"bits": 8} for name in found},
            },
        ]
    )
    config = json.dumps({"quantization_config": section}).encode()
    return {"": b"", "config.json": config, "model.safetensors": _header(tensors(max(2, n // many)))}


def index(random: Random, n: int) -> Files:
    """An index of many tensors, in one shard that is there, or in many that are not."""
    named, shards = names(random), random.choice([0, 1, 2, 50])
    shard = "model-{:05d}-of-99999.safetensors"
    placed = {named(i): shard.format(i % shards if shards else i) for i in range(n)}
    documents = [{"metadata": {"total_size": 0}, "weight_map": placed}, {"weight_map": {"a": "b.bin"}}]
    text = (
        json.dumps(documents[0])
        if random.random() < 0.7
        else grown_json(random, documents[0] if n < 99 else documents[1], n)
    )
    tensors = _header({name: _entry() for name, file in placed.items() if file == shard.format(0)})
    return {"": b"", "model.safetensors.index.json": text.encode(), shard.format(0): tensors}


_OTHER_DOCUMENTS: Final[dict[str, object]] = {
    "model_index.json": {"_class_name": "P", "transformer": ["diffusers", "T"], "vae": ["diffusers", "V"]},
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "T"},
        {"idx": 1, "name": "1", "path": "1_P", "type": "P"},
    ],
    "adapter_config.json": {
        "peft_type": "LORA",
        "r": 8,
        "target_modules": ["q"],
        "rank_pattern": {"a": 1},
        "base": "m",
    },
    "params.json": {"dim": 64, "quantization": {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"}},
    "quanto_qmap.json": {"a": {"weights": "qint8", "activations": "none"}, "b": {"weights": "qint4"}},
    "quant_model_description.json": {"model_quant_type": "W8A8", "a.weight": "W8A8", "b.weight": "FLOAT"},
    "openvino_config.json": {"compression": {"quantization_config": {"bits": 4, "ignored_scope": {"names": ["a"]}}}},
    "mlc-chat-config.json": {"quantization": "q4f16_1", "model_config": {"hidden_size": 4}},
    "ort_config.json": {"quantization": {"is_static": False, "nodes_to_exclude": ["a"], "per_channel": True}},
    "generation_config.json": {"a": 1},
}


def other_documents(random: Random, n: int) -> Files:
    """Any other JSON file that is read beside weights, with one large place."""
    name = random.choice(sorted(_OTHER_DOCUMENTS))
    tensors = _tensors(random)(20)
    weights = "adapter_model.safetensors" if name.startswith("adapter") else "model.safetensors"
    return {"": b"", name: grown_json(random, _OTHER_DOCUMENTS[name], n).encode(), weights: _header(tensors)}


def many_files(random: Random, n: int) -> Files:
    """Many small files in a folder: weights, parts, configs, others."""
    pattern = random.choice(
        [
            *(
                "{}.txt",
                "{}.safetensors",
                "{}.bin",
                "{}.json",
                "model-{:05d}-of-99999.safetensors",
                "rank{}.safetensors",
            ),
            *("quant_model_description_{}.json", "{}.gguf.part", "{}.onnx", "{}.index.json", "mmproj-{}.gguf", "{}.h5"),
        ]
    )
    first = random.choice(["model.safetensors", "config.json"])
    content = {"model.safetensors": _header({"w": _entry()}), "config.json": b"{}"}[first]
    filling = random.choice([b"", b"{}", _header({"w": _entry()})])
    return {"": b"", first: content, **{pattern.format(i): filling for i in range(n // 8 + 1)}}


def mlc(random: Random, n: int) -> Files:
    """The list of an MLC model with many arrays, shards, or one large place."""
    named, shards = names(random), random.choice([1, 7, 0])
    array = {"shape": [8, 4], "dtype": "float16", "format": "raw", "nbytes": 64}
    shard = {
        "dataPath": "params_shard_0.bin",
        "format": "raw-shard",
        "nbytes": 128,
        "records": [{**array, "name": "a", "byteOffset": 0}],
    }
    if random.random() < 0.4:
        return {"tensor-cache.json": grown_json(random, {"metadata": {"ParamSize": 1}, "records": [shard]}, n).encode()}
    count = shards or n
    records = [
        {
            **shard,
            "dataPath": f"params_shard_{number}.bin",
            "nbytes": 64 * len(range(number, n, count)),
            "records": [
                {**array, "name": named(i), "byteOffset": 64 * at} for at, i in enumerate(range(number, n, count))
            ],
        }
        for number in range(count)
    ]
    return {"tensor-cache.json": json.dumps({"metadata": {}, "records": records}).encode()}


# GGUF


def gguf_file(random: Random, n: int) -> Files:
    """Many tensors, many keys of any type, long or many strings, nested arrays, one key many times."""
    named, text, part = names(random), long_text(random), random.randrange(7)
    number, types = random.choice([0, 4, 5, 7, 10]), random.choices([0, 1, 2, 8, 12, 14, 39], k=3)
    numbers = {0: "<B", 4: "<I", 5: "<i", 7: "<B", 10: "<Q"}
    raw = struct.pack(numbers[number], 1)
    pairs = [gguf_text("general.architecture") + struct.pack("<I", 8) + gguf_text("llama")]
    infos: list[bytes] = []
    if part == 0:
        infos = [gguf_text(named(i)[:63]) + struct.pack("<IQIQ", 1, 0, types[i % 3], 0) for i in range(n)]
    elif part == 1:
        pairs += [gguf_text(named(i)) + struct.pack("<I", number) + raw for i in range(n)]
    elif part == 2:
        key = random.choice(
            ["tokenizer.ggml.tokens", "general.name", "general.tags", "quantize.imatrix.file", "general.file_type"]
        )
        pairs.append(gguf_text(key) + struct.pack("<IIQ", 9, 8, n) + b"".join(gguf_text(named(i)) for i in range(n)))
    elif part == 3:
        pairs.append(gguf_text(random.choice(["general.name", "a"])) + struct.pack("<I", 8) + gguf_text(text(n)))
    elif part == 4:
        pairs.append(gguf_text("a") + struct.pack("<IIQ", 9, number, n) + raw * n)
    elif part == 5:
        empty = random.choice([struct.pack("<IQ", 4, 0), struct.pack("<IQ", 8, 0), struct.pack("<IQB", 0, 1, 1)])
        pairs.append(gguf_text("a") + struct.pack("<IIQ", 9, 9, n) + empty * n)
    else:
        pairs += [gguf_text("same") + struct.pack("<I", number) + raw] * n
    header = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs)) + b"".join((*pairs, *infos))
    return {"model.gguf": header + bytes(-len(header) % 32)}


def gguf_nested(random: Random, n: int) -> Files:
    """Arrays in arrays, as deep as wanted."""
    body = struct.pack("<IQ", 9, 1) * n + struct.pack("<IQB", 0, 1, 1)
    pair = gguf_text(random.choice(["a", "general.name"])) + struct.pack("<I", 9) + body
    return {"model.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair}


# ONNX


def _initializer(name: str, dims: Sequence[int] = (0,), kind: int = 1, more: bytes = b"") -> bytes:
    shape = b"".join(onnx_field(1, length) for length in dims)
    return onnx_field(5, shape + onnx_field(2, kind) + onnx_field(8, name) + more)


def _node(op: str, inputs: Iterable[str], output: str, domain: str = "", more: bytes = b"") -> bytes:
    ends = b"".join(onnx_field(1, name) for name in inputs) + onnx_field(2, output)
    return onnx_field(1, ends + onnx_field(4, op) + onnx_field(7, domain) + more)


def _subgraph(label: str, graph: bytes) -> bytes:
    return onnx_field(
        1, onnx_field(3, label) + onnx_field(4, "If") + onnx_field(5, onnx_field(1, "then") + onnx_field(6, graph))
    )


_OPERATORS: Final = (
    *("MatMulNBits", "DequantizeLinear", "QuantizeLinear", "MatMul", "Transpose", "Identity", "Reshape", "Cast", "Add"),
    *(
        "MatMulInteger",
        "DynamicQuantizeLinear",
        "Gather",
        "Mul",
        "Constant",
        "QLinearMatMul",
        "GatherBlockQuantized",
        "Concat",
    ),
)


def onnx_file(random: Random, n: int) -> Files:
    """Many initializers, nodes, inputs, attributes, dims, subgraphs, external files; long names; chains of nodes."""
    named, text, part = names(random), long_text(random), random.randrange(14)
    op, domain = random.choice(_OPERATORS), random.choice(["", "com.microsoft", "x"])
    kind, fan = random.choice([1, 2, 3, 10, 16, 21, 22]), random.choice([1, 2, 5])
    numbers = b"".join(
        onnx_field(5, onnx_field(1, name) + onnx_field(20, 2) + onnx_field(3, 4))
        for name in ("K", "N", "bits", "block_size")
    )
    if part == 0:
        parts = [_initializer(named(i), kind=kind) for i in range(n)]
    elif part == 1:
        parts = [_node(op, [named(i), "s"], f"y{i}", domain, numbers) for i in range(n)]
        parts += [_initializer(named(i), kind=kind) for i in range(n)]
    elif part == 2:
        parts = [_node(op, [f"y{i}", *["w"] * fan], f"y{i + 1}", domain) for i in range(n)] + [
            _initializer("w"),
            _initializer("y0"),
        ]
    elif part == 3:
        parts = [_node(op, [named(i) for i in range(n)], "y", domain), *(_initializer(named(i)) for i in range(n))]
    elif part == 4:
        parts = [
            _node(
                op,
                ["w"],
                "y",
                domain,
                b"".join(onnx_field(5, onnx_field(1, named(i)) + onnx_field(3, i)) for i in range(n)),
            )
        ]
    elif part == 5:
        parts = [_initializer("w", [1] * n), _initializer("v", [0] * n)]
    elif part == 6:
        inner = b"".join(_node(op, [named(i)], f"{i}") + _initializer(named(i)) for i in range(n))
        for _ in range(random.randrange(1, 30)):
            inner = _subgraph("L" * random.choice([1, 200]), inner)
        parts = [inner]
    elif part == 7:
        inner = _initializer("w")
        for _ in range(min(n, 2000)):
            inner = _subgraph("a", inner)
        parts = [inner, b"".join(_initializer(f"{i}") for i in range(n))]
    elif part == 8:
        location = random.choice(["x{}.bin", "x.bin", "x/{}.bin"])
        parts = [
            _initializer(
                named(i),
                more=onnx_field(14, 1) + onnx_field(13, onnx_field(1, "location") + onnx_field(2, location.format(i))),
            )
            for i in range(n)
        ]
    elif part == 9:
        parts = [_initializer(text(n)), _node(op, [text(n)], "y", domain)]
    elif part == 10:
        parts = [_subgraph(f"b{i}", _initializer(named(i)) + _node(op, [named(i), "w"], "z")) for i in range(n)] + [
            _initializer("w")
        ]
    elif part == 11:
        parts = [_node(op, ["w", named(i)], f"y{i}", domain, numbers) for i in range(n)] + [
            _initializer("w", kind=kind)
        ]
    elif part == 12:
        parts = [_initializer("same")] * n
    else:
        pairs = b"".join(onnx_field(14, onnx_field(1, named(i)) + onnx_field(2, "v")) for i in range(n))
        return {"model.onnx": onnx_model(_initializer("w")) + pairs}
    return {"model.onnx": onnx_model(*parts)}


# pickles


def _word(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def torch_file(random: Random, n: int) -> Files:
    """Pickles of many tensors, scalars, lists, globals, memo entries; deep; long; and archives of many files."""
    named, text, part = names(random), long_text(random), random.randrange(13)
    value = random.choice(
        [
            b"K\x01",
            b"N",
            b"\x88",
            b"G" + bytes(8),
            _word("x"),
            b"]",
            b"}",
            b")",
            b"(lp1\n",
            b"ccollections\nOrderedDict\n)R",
        ]
    )
    tensors, storages = torch_pickle({named(i): ("HalfStorage", [0]) for i in range(n if part == 0 else 1)})
    tensor = torch_pickle({"w": ("HalfStorage", [0])})[0][4 + len(_word("w")) : -2]
    bodies: dict[int, Callable[[], bytes]] = {
        1: lambda: b"}(" + b"".join(_word(named(i)) + value for i in range(n)) + b"u",
        2: lambda: b"](" + value * n + b"e",
        3: lambda: b"(" + value * n + b"t",
        4: lambda: b"".join(_word(named(i)) + b"r" + struct.pack("<I", i) + b"0" for i in range(n)) + b"}",
        5: lambda: b"]q\0" + b"h\0a" * n,
        6: lambda: (
            b"}"
            + b"".join(_word(named(i)) + b"}" for i in range(min(n, 5000)))
            + b"s" * min(n, 5000)
            + _word("v")
            + value * n
            + b"s"
        ),
        7: lambda: b"}" + _word("k") + b"](" + tensor * n + b"es",
        8: lambda: b"}" + _word(text(n)) + b"}(" + b"".join(_word(f"{i}") + value for i in range(99)) + b"us",
        9: lambda: b"".join(b"ctorch\n" + f"X{i}\n".encode() for i in range(n)) + b"}",
        10: lambda: b"}(" + b"".join(_word(f"{i}") + tensor for i in range(n)) + b"u",
        11: lambda: b"](" + b"]" * min(n, 900) + b"a" * min(n, 900) + value * n + b"e",
    }
    if part == 12:
        return {"model.pt": torch_archive(tensors, {named(i): 0 for i in range(n)})}
    if part in bodies:
        tensors = b"\x80\x02" + bodies[part]() + b"."
    if random.random() < 0.2:  # before archives: a magic number, a version and machine facts come first
        magic = (
            pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
        )
        return {"model.pt": magic + tensors + pickle.dumps([], 2)}
    return {"model.pt": torch_archive(tensors, storages)}


def distributed(random: Random, n: int) -> Files:
    """The list of a distributed checkpoint: of many tensors or parts, or with more behind it."""
    if random.random() < 0.5:
        named, parts = names(random), random.choice([1, 2, 64, n])
        tensors = {named(i): ("bfloat16", [parts, 4], parts) for i in range(max(1, n // parts))}
        return {".metadata": distributed_list(tensors, random.choice([0, 0, 1]))}
    seed = (CONTAINERS / "dcp/nested/.metadata").read_bytes()
    named, value = names(random), random.choice([b"K\x01", b"}", b"]", _word("x")])
    more = b"".join(_word(named(i)) + value for i in range(n))
    return {".metadata": seed[:-1] + b"0}(" + more + b"u."}


# other containers


def ctranslate2(random: Random, n: int) -> Files:
    """Many variables, or many aliases of one."""
    named, many_aliases = names(random), random.random() < 0.4

    def short(text: str) -> bytes:
        raw = text.encode()[:1000] + b"\0"
        return struct.pack("<H", len(raw)) + raw

    variables = [named(i) for i in range(1 if many_aliases else n)]
    body = b"".join(short(name) + struct.pack("<BIBI", 1, 0, 1, 0) for name in variables)
    aliases = b"".join(short(f"a{i}") + short(variables[0]) for i in range(n if many_aliases else 0))
    head = struct.pack("<I", 6) + short("TransformerSpec") + struct.pack("<II", 1, len(variables))
    return {"model.bin": head + body + struct.pack("<I", n if many_aliases else 0) + aliases}


def legacy_ggml(random: Random, n: int) -> Files:
    """Many tensors, or a large vocabulary."""
    named, part = names(random), random.randrange(2)
    vocabulary = n if part else 2
    head = (
        b"tjgg"
        + struct.pack("<8i", 3, vocabulary, 1, 1, 1, 1, 1, 0)
        + (struct.pack("<I", 1) + b"a" + bytes(4)) * vocabulary
    )
    out = io.BytesIO()
    out.write(head + struct.pack("<5i", 2, 1, 0, 1, vocabulary) + b"e")
    out.write(bytes(-out.tell() % 32) + bytes(vocabulary * 4))
    for i in range(1 if part else n):
        name = named(i).encode()[:200] or b"w"
        out.write(struct.pack("<5i", 2, len(name), 0, 32, 0) + name)
        out.write(bytes(-out.tell() % 32))
    return {"model.bin": out.getvalue()}


def openvino(random: Random, n: int) -> Files:
    """Many layers, edges, ports, attributes, dims, elements of other names; deep; long names."""
    named, text, part = names(random), long_text(random), random.randrange(9)
    kind = random.choice(["Const", "Convert", "Multiply", "Subtract", "Parameter", "MatMul", "If"])
    fact = '<data element_type="u4" shape="0, 4" offset="0" size="0" />'
    layer = (
        '<layer id="{}" name="{}" type="{}" version="opset1">{}'
        '<output><port id="0" precision="U4">{}</port></output></layer>'
    )

    def escaped(name: str) -> str:
        plain = "".join(char for char in name if char >= " ")
        return plain.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")

    edge = '<edge from-layer="{}" from-port="0" to-layer="{}" to-port="0" />'
    layers, edges, more = [layer.format(0, "w", "Const", fact, "")], [], ""
    if part == 0:
        layers = [layer.format(i, escaped(named(i)), "Const", fact, "") for i in range(n)]
    elif part == 1:
        layers = [layer.format(i, escaped(named(i)), kind if i else "Const", fact, "") for i in range(n)]
        edges = [edge.format(i, i + 1) for i in range(n - 1)]
    elif part == 2:
        layers += [layer.format(i + 1, f"c{i}", kind, "", "") for i in range(n)]
        edges = [edge.format(0, i + 1) for i in range(n)]
    elif part == 3:
        edges = [edge.format(i, 0) for i in range(n)]
    elif part == 4:
        layers.append(layer.format(1, "p", kind, fact, "<dim>1</dim>" * n))
    elif part == 5:
        layers.append(layer.format(1, escaped(text(n)), "Const", fact, ""))
    elif part == 6:
        more = "<rt_info>" + "<a>" * n + "</a>" * n + "</rt_info>"
    elif part == 7:
        more = "<rt_info>" + "".join(f'<a{i} value="{i}" />' for i in range(n)) + "</rt_info>"
    else:
        layers.append(f'<layer id="1" name="x" type="Const" {" ".join(f"""a{i}="{i}" """ for i in range(n))} />')
    return {
        "model.xml": f'<?xml version="1.0"?><net name="n" version="11"><layers>{"".join(layers)}</layers>'
        f"<edges>{''.join(edges)}</edges>{more}</net>".encode("utf-8", "surrogatepass")
    }


def numpy_file(random: Random, n: int) -> Files:
    """An archive of many arrays, or one array whose header is large."""
    named, part = names(random), random.randrange(4)

    def array(header: str) -> bytes:
        raw = header.encode()
        return b"\x93NUMPY\x02\0" + struct.pack("<I", len(raw)) + raw

    sound = array("{'descr': '<f2', 'fortran_order': False, 'shape': (0,), }\n")
    if part == 0:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for i in range(n):
                archive.writestr(f"{named(i).replace(chr(0), '')}.npy", sound)
        return {"weights.npz": out.getvalue()}
    large = {
        1: f"'shape': ({'1,' * n})",
        2: f"'shape': (0,), 'a': {'(' * n}{')' * n}",
        3: f"'shape': (0,){' ' * n}",
    }
    descr = random.choice(["'<f2'", "[" + "('a', '<f2')," * n + "]"])
    return {"weights.npy": array(f"{{'descr': {descr}, 'fortran_order': False, {large[part]}}}\n")}


def nemo(random: Random, n: int) -> Files:
    """An archive of many files around a PyTorch file that is large."""
    inside = random.random() < 0.5
    inner, many = torch_file(random, n if inside else 1)["model.pt"], 1 if inside else n
    named = names(random)
    modes: tuple[Literal["w", "w:gz"], ...] = ("w", "w:gz")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=random.choice(modes)) as archive:
        contents = {
            "model_config.yaml": b"a: 1\n",
            **{f"f/{named(i)}": b"" for i in range(many // 8)},
            "model_weights.ckpt": inner,
        }
        for name, content in contents.items():
            info = tarfile.TarInfo(name.replace("\0", ""))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return {"model.nemo": out.getvalue()}


# files of levels and of configs


def settings_file(random: Random, n: int) -> Files:
    """A file that `quantlevels.config` reads, with many or large entries, sound or not."""
    named, text, part = names(random), long_text(random), random.randrange(10)
    suffix, word = random.choice([".json", ".toml", ".yaml"]), random.choice(["Int4", "in4", "Q4_K_M", "fp4", "é", ""])
    quoted = json.dumps
    if suffix == ".json":
        bodies: tuple[Callable[[], str], ...] = (
            lambda: quoted({"weights": {named(i): word for i in range(n)}}),
            lambda: quoted({"items": [word] * n}),
            lambda: quoted({"weights": {}, **{named(i): 1 for i in range(n)}}),
            lambda: quoted({"items": [text(n)]}),
            lambda: '{"items":' + "[" * n + "]" * n + "}",
            lambda: quoted({"items": [{"name": named(i), "bits_per_param": 4} for i in range(n)]}),
            lambda: quoted({"items": list(range(n))}),
            lambda: '{"items": [' + "1" * n + "]}",
            lambda: "{" + ",".join(['"a": 1'] * n) + "}",
            lambda: quoted({"level": text(n)}),
        )
    elif suffix == ".toml":
        bodies = (
            lambda: "[weights]\n" + "".join(f"{quoted(named(i))} = {quoted(word)}\n" for i in range(n)),
            lambda: f"items = [{', '.join([quoted(word)] * n)}]",
            lambda: "".join(f"{quoted(named(i))} = 1\n" for i in range(n)),
            lambda: f"items = [{quoted(text(n))}]",
            lambda: "items = " + "[" * n + "]" * n,
            lambda: "".join(f"[[items]]\nname = {quoted(named(i))}\nbits_per_param = 4\n" for i in range(n)),
            lambda: ".".join(["a"] * n) + " = 1",
            lambda: "a = " + "1" * n,
            lambda: "a = 1\n" * n,
            lambda: "[" + ".".join(["a"] * n) + "]\n",
        )
    else:
        bodies = (
            lambda: "weights:\n" + "".join(f"  {quoted(named(i))}: {quoted(word)}\n" for i in range(n)),
            lambda: "items: [" + ", ".join([quoted(word)] * n) + "]",
            lambda: (
                "a: &a [1, 1]\n"
                + "".join(
                    f"b{i}: &b{i} [*{f'b{i - 1}' if i else 'a'}, *{f'b{i - 1}' if i else 'a'}]\n" for i in range(n)
                )
            ),
            lambda: f"items: [{quoted(text(n))}]",
            lambda: "items: " + "[" * n + "]" * n,
            lambda: "items:\n" + "".join(f"- name: {quoted(named(i))}\n  bits_per_param: 4\n" for i in range(n)),
            lambda: "a: &a {x: 1}\nb:\n" + "- *a\n" * n,
            lambda: "a: " + "1" * n,
            lambda: "- " * n + "a",
            lambda: "? " * n + "a",
        )
    return {f"settings{suffix}": bodies[part]().encode("utf-8", "surrogatepass")}


def levels_file(random: Random, n: int) -> Files:
    """A file of levels: many, with many aliases, or with mistakes."""
    part, mistake = random.randrange(4), random.choice(["", "x", -1, 0, None])
    level: dict[str, object] = {"bits_per_param": 4}
    if part == 0:
        document: dict[str, object] = {f"Acme{i}": level for i in range(n)}
    elif part == 1:
        document = {"Acme": {**level, "aliases": [f"acme_{i}" for i in range(n)]}}
    elif part == 2:
        document = {f"Acme{i}": {**level, "bits_per_param": mistake} for i in range(n)}
    else:
        document = {f"Acme{i}": {**level, f"key{i}": 1, "aliases": ["int4"]} for i in range(n)}
    return {"levels.json": json.dumps({"levels": document}).encode()}


BUILDERS: Final[Mapping[str, Build]] = {
    build.__name__: build
    for build in (
        *(safetensors_tensors, safetensors_text, safetensors_metadata, safetensors_entry),
        *(config_beside_tensors, config_beside_tensors, patterns, index, other_documents, many_files, mlc),
        *(
            gguf_file,
            gguf_nested,
            onnx_file,
            torch_file,
            distributed,
            ctranslate2,
            legacy_ggml,
            openvino,
            numpy_file,
            nemo,
        ),
        *(settings_file, levels_file),
    )
}
