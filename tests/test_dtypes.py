"""Dtypes combine as torch combines them."""

from __future__ import annotations

import pytest
import torch

from archlab.errors import GraphError, ShapeError
from archlab.ir import ITEM_BYTES, TensorSpec, promoted
from archlab.ops import Add, Concat, MatMul, Mul


@pytest.mark.parametrize("a", ITEM_BYTES)
def test_two_dtypes_combine_as_torch_promotes_them_or_not_at_all(a: str) -> None:
    for b in ITEM_BYTES:
        try:
            combined = str(torch.promote_types(getattr(torch, a), getattr(torch, b))).removeprefix("torch.")
        except RuntimeError:
            with pytest.raises(GraphError, match="do not combine"):
                promoted(a, b)
        else:
            assert promoted(a, b) == combined


@pytest.mark.parametrize("op", [Add(), Mul(), Concat(0)])
def test_sums_products_and_joins_combine_dtypes(op: Add) -> None:
    # torch: int64 with float16 is float16, float16 with float32 is float32
    assert op.infer(TensorSpec((2,), "int64"), TensorSpec((2,), "float16")).dtype == "float16"
    assert op.infer(TensorSpec((2,), "float16"), TensorSpec((2,), "float32")).dtype == "float32"


def test_a_matrix_product_of_two_dtypes_is_refused_as_torch_refuses_it() -> None:
    with pytest.raises(RuntimeError, match="same dtype"):
        torch.matmul(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.float64))
    with pytest.raises(ShapeError, match="cannot multiply float32 by float64"):
        MatMul().infer(TensorSpec((2, 2)), TensorSpec((2, 2), "float64"))
