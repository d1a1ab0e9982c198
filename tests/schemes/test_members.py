"""The tensors of a folded weight, each with its role."""

from __future__ import annotations

from quantlevels import BF16, FP16, levels
from quantlevels.container import Tensor, in_columns
from quantlevels.schemes.folding import fold_modules


def members(*tensors: Tensor) -> list[list[tuple[str, str]]]:
    """Name and role of the tensors of each weight."""
    folding = fold_modules(in_columns(tensors), (), None)
    return [
        [(member.within(module), member.role) for member in part.members] for module, parts in folding for part in parts
    ]


def tensor(name: str, dtype: str, *shape: int) -> Tensor:
    elements = 1
    for length in shape:
        elements *= length
    return Tensor(name, levels[dtype], shape, elements * levels[dtype].block.bits // 8)


def test_each_tensor_of_gptq_has_its_role() -> None:
    found = members(
        tensor("fc.qweight", "int32", 16, 128),
        tensor("fc.qzeros", "int32", 1, 16),
        tensor("fc.scales", "float16", 1, 128),
        tensor("fc.g_idx", "int32", 128),
        tensor("fc.bias", "float16", 128),
    )

    assert sorted(found[0] + found[1]) == [
        ("fc.bias", "bias"),
        ("fc.g_idx", "index"),
        ("fc.qweight", "codes"),
        ("fc.qzeros", "zero_point"),
        ("fc.scales", "scale"),
    ]


def test_fused_experts_keep_the_names_of_the_checkpoint() -> None:
    found = members(
        tensor("mlp.experts.down_proj_blocks", "uint8", 2, 64, 2, 16),
        tensor("mlp.experts.down_proj_scales", "uint8", 2, 64, 2),
    )

    assert found == [[("mlp.experts.down_proj_blocks", "codes"), ("mlp.experts.down_proj_scales", "scale")]]


def test_a_plain_tensor_is_its_own_only_member() -> None:
    found = members(
        Tensor("norm.weight", BF16, (64,), 128), Tensor("fc.weight", FP16, (64, 64), 8192), Tensor("top", FP16, (2,), 4)
    )

    assert sorted(found) == [[("fc.weight", "weight")], [("norm.weight", "weight")], [("top", "weight")]]


def test_many_tensors_without_a_module_stand_alone() -> None:
    matrices = [tensor(f"onnx_MatMul_{number}", "BFloat16", 8, 8) for number in range(100)]
    folding = fold_modules(in_columns([*matrices, tensor("inv_freq", "None", 8)]), (), None)
    found = [((module + part.name).removeprefix("."), part.account, part.parameters) for module, (part,) in folding]
    expected = [(matrix.name, "weights", 64) for matrix in matrices]
    assert sorted(found) == sorted([*expected, ("inv_freq", "buffers", 0)])
    assert [[member.within(module) for member in part.members] for module, (part,) in folding] == [
        [name] for name, _, _ in found
    ]


def test_a_packed_module_without_a_name_stays_whole() -> None:
    packed = [
        tensor("qweight", "Int32", 16, 128),
        tensor("qzeros", "Int32", 1, 16),
        tensor("scales", "Float16", 1, 128),
        tensor("g_idx", "Int32", 128),
    ]
    others = [tensor(f"other_{number}", "BFloat16", 8, 8) for number in range(100)]
    folding = fold_modules(in_columns([*packed, *others]), (), None)
    levels_of = [part.level.name for _, parts in folding for part in parts]
    assert levels_of.count("Int4") == 1
    assert levels_of.count("BFloat16") == len(others)
