"""The tensors of a folded weight, each with its role."""

from __future__ import annotations

from fractions import Fraction

from quantlevels import BF16, FP16, levels
from quantlevels.container import Tensor, in_columns
from quantlevels.scheme import Packing, Weight
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


def test_codes_of_marlin_without_a_module_are_found_among_many_tensors() -> None:
    packed = [tensor("B", "Int32", 16, 512), tensor("s", "Float16", 2, 256)]
    others = [tensor(f"other_{number}", "BFloat16", 8, 8) for number in range(100)]
    folding = fold_modules(in_columns([*packed, *others]), (), None)
    found = {part.level.name: part.parameters for _, parts in folding for part in parts if part.quantized}
    assert found == {"Int4": 256 * 256}


def test_a_declared_packing_without_a_module_is_found_among_many_tensors() -> None:
    packing = Packing("zz", ("zs",), lambda module, hint: Weight(levels["Int4"], 64, Fraction(4), shape=(8, 8)))
    packed = [tensor("zz", "UInt8", 8, 4), tensor("zs", "Float16", 8)]
    others = [tensor(f"other_{number}", "BFloat16", 8, 8) for number in range(100)]
    folding = fold_modules(in_columns([*packed, *others]), (packing,), None)
    found = {part.level.name: part.parameters for _, parts in folding for part in parts if part.quantized}
    assert found == {"Int4": 64}
