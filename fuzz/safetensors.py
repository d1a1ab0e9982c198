"""safetensors files: as bytes, and as headers with their right length and enough data."""

from __future__ import annotations

from tests.writers import framed, safetensors, safetensors_header

from fuzz.invariants import check_file

_TENSORS = {
    "model.embed_tokens.weight": ("BF16", [8, 4]),
    "model.layers.0.mlp.up_proj.qweight": ("I32", [4, 32]),
    "model.layers.0.mlp.up_proj.qzeros": ("I32", [1, 4]),
    "model.layers.0.mlp.up_proj.scales": ("F16", [1, 32]),
    "model.norm.weight": ("F32", [8]),
    "scalar": ("F8_E4M3", []),
}
_RAW, _FRAMED = b"\0", b"\1"

SEEDS = (
    _RAW + safetensors(_TENSORS),
    _RAW + safetensors({}),
    _FRAMED + safetensors_header(_TENSORS, {"format": "pt", "total_parameters": "5"})[0],
    _FRAMED + safetensors_header({"w": ("F4", [2, 32]), "w_scale": ("F8_E8M0", [2, 1])})[0],
)


def run(data: bytes) -> None:
    """Inspect a file whose first byte says whether its header is framed."""
    if data[:1] == _FRAMED:
        header = framed(data[1:])
        check_file("model.safetensors", header, len(header) + safetensors_header(_TENSORS)[1])
    else:
        check_file("model.safetensors", data[1:])
