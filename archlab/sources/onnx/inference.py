"""The onnx package's own shape inference, for operators that we have no rule for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archlab.errors import ReadError
from archlab.ir import TensorSpec
from archlab.sources.onnx.reading import Call
from archlab.sources.onnx.tensors import NUMBERS, declared, fixed_spec


def inferred(call: Call, versions: Mapping[str, int]) -> list[TensorSpec] | None:
    """Return what onnx says a node makes, None where it does not know the operator or the shapes.

    Raises `ReadError` where it says that the node is wrong.
    """
    from onnx import checker, defs, helper, numpy_helper, shape_inference

    if call.domain not in ("", "ai.onnx.ml"):
        return None
    try:
        schema = defs.get_schema(call.op, min(call.version, defs.onnx_opset_version()), call.domain)
    except defs.SchemaError:
        return None
    types, data = {}, {}
    for name, value in zip(call.proto.input, call.inputs, strict=True):
        if value is None:
            continue
        types[name] = helper.make_tensor_type_proto(NUMBERS[value.spec.dtype], list(value.spec.shape))
        if value.data is not None and str(value.data.dtype) in NUMBERS:
            data[name] = numpy_helper.from_array(value.data, name)
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    try:
        made = shape_inference.infer_node_outputs(schema, call.proto, types, data, opset_imports=opsets)
    except (shape_inference.InferenceError, checker.ValidationError, RuntimeError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:200]
        raise ReadError(f"onnx says: {text}") from None
    specs = []
    for name in call.outputs:
        if not name:
            continue
        info: Any = helper.make_value_info(name, made[name]) if name in made else None
        found = None if info is None else declared(info)
        fixed = None if found is None else fixed_spec(found)
        if fixed is None:
            return None
        specs.append(fixed)
    return specs
