"""Converts a trained network to an ONNX graph in double precision."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, helper, numpy_helper

from bpexp.data.target_scaling import UNSCALED
from bpexp.export.trained import TrainedNetwork
from bpexp.fields.checks import ConfigError
from bpexp.nn.activations import ACTIVATIONS
from bpexp.typing import Array

OPSET, IR_VERSION = 17, 8
"""ONNX versions of 2022, which most runtimes support."""

_CONSTANTS = {"one": 1.0, "half": 0.5}
"""Scalars that the nodes of activation functions may use, by name."""

TOLERANCE = 1e-9
"""Maximum absolute difference between the predictions of onnxruntime and of bpexp."""


class _Nodes:
    """Collects the nodes of a graph."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output


def model(trained: TrainedNetwork) -> bytes:
    """Convert a network to ONNX and verify the result with onnxruntime.

    Args:
        trained: The network.

    Returns:
        The content of the ONNX file. The graph maps ``inputs`` (n, n_features) to ``outputs``
        (n, n_outputs), both float64.

    Raises:
        ConfigError: onnxruntime gives other predictions.
    """
    graph_nodes = _Nodes()
    node = graph_nodes.add
    values: dict[str, Array] = {"mean": trained.mean, "scale": trained.scale}
    a = node("Div", node("Sub", "inputs", "mean"), "scale")
    layers = zip(trained.weights, trained.biases, trained.network.activation_names, strict=True)
    for i, (W, b, function) in enumerate(layers, start=1):
        values |= {f"W{i}": W, f"b{i}": trained.network.bias_input * b}
        z = node("Add", node("MatMul", a, f"W{i}"), f"b{i}")
        a = ACTIVATIONS[function].onnx(node, z)
    if trained.scaling is not UNSCALED:
        values |= {"target_mean": trained.scaling.mean, "target_scale": trained.scaling.scale}
        a = node("Add", node("Mul", a, "target_scale"), "target_mean")
    nodes = [*graph_nodes.nodes, helper.make_node("Identity", [a], ["outputs"])]
    used = {name for graph_node in nodes for name in graph_node.input}
    values |= {name: np.array(v) for name, v in _CONSTANTS.items() if name in used}
    double = onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        nodes, "bpexp",
        [helper.make_tensor_value_info("inputs", double, ["n", len(trained.inputs)])],
        [helper.make_tensor_value_info("outputs", double, ["n", len(trained.targets)])],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )  # fmt: skip
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="bpexp",
    )  # fmt: skip
    for key, names in (("inputs", trained.inputs), ("outputs", trained.targets)):
        proto.metadata_props.add(key=key, value=", ".join(names))
    onnx.checker.check_model(proto, full_check=True)
    content = bytes(proto.SerializeToString())
    difference = float(abs(run(content, trained.X) - trained.predict(trained.X)).max())
    unit = float(trained.scaling.scale.max())
    if not difference <= TOLERANCE * max(1.0, unit):
        raise ConfigError(
            f"The predictions of onnxruntime differ by up to {difference:.1e}, so model.onnx was "
            "not written."
        )
    return content


def run(content: bytes, X: Array) -> Array:
    """Run an ONNX model with onnxruntime.

    Args:
        content: Content of the ONNX file.
        X: Inputs, (n, n_features).

    Returns:
        Outputs, (n, n_outputs).
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(["outputs"], {"inputs": X})
    return np.asarray(outputs, np.float64)
