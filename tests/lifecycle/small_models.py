"""A converted model that is made without fitting one."""

import json

from onnx import TensorProto, helper

from lifecycle.predictor import METADATA, Predictor


def write_sum(constant: float = 0) -> bytes:
    """Write a regression in ONNX that adds its two features and a constant."""
    X = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    added = helper.make_tensor("added", TensorProto.FLOAT, [1], [constant])
    nodes = [
        helper.make_node("ReduceSum", ["X", "axes"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "added"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "sum", [X], [y], [axes, added])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    described = {"features": ["size", "is_fine"], "classes": None}
    helper.set_model_props(model, {METADATA: json.dumps(described)})
    return bytes(model.SerializeToString())


def make_regression(constant: float = 0) -> Predictor:
    """Make a model that adds its two features and a constant."""
    return Predictor(write_sum(constant))
