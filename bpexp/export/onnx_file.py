"""A trained network as an ONNX graph in double precision."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bpexp.export.trained import Trained
from bpexp.fields.checks import ConfigError
from bpexp.nn.activations import ACTIVATIONS
from bpexp.typing import Array

if TYPE_CHECKING:
    from onnx import NodeProto

OPSET, IR_VERSION = 17, 8
"""Of 2022: what most runtimes in use understand."""
CLOSE = 1e-9
"""How far a runtime's outputs may be from the tracked ones."""


def model(trained: Trained) -> bytes:
    """The file's content: ``inputs`` (n, n_features) to ``outputs`` (n, n_outputs), float64.

    Raises ConfigError where onnx or onnxruntime is missing, or where onnxruntime does not
    give the network's own predictions.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise _missing() from error
    nodes: list[NodeProto] = []
    values: dict[str, Array] = {"mean": trained.mean, "scale": trained.scale}

    def node(kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    a = node("Div", node("Sub", "inputs", "mean"), "scale")
    layers = zip(trained.weights, trained.biases, trained.network.functions, strict=True)
    for i, (W, b, function) in enumerate(layers, start=1):
        values |= {f"W{i}": W, f"b{i}": trained.network.bias_input * b}
        z = node("Add", node("MatMul", a, f"W{i}"), f"b{i}")
        a = ACTIVATIONS[function].onnx(node, z)
    used = {name for made in nodes for name in made.input}
    values |= {name: np.array(v) for name, v in _CONSTANTS.items() if name in used}
    nodes.append(helper.make_node("Identity", [a], ["outputs"]))
    double = onnx.TensorProto.DOUBLE
    graph = helper.make_graph(
        nodes, "bpexp",
        [helper.make_tensor_value_info("inputs", double, ["n", len(trained.inputs)])],
        [helper.make_tensor_value_info("outputs", double, ["n", len(trained.targets)])],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )  # fmt: skip
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="bpexp",
    )  # fmt: skip
    for key, names in (("inputs", trained.inputs), ("outputs", trained.targets)):
        made.metadata_props.add(key=key, value=", ".join(names))
    onnx.checker.check_model(made, full_check=True)
    content = bytes(made.SerializeToString())
    apart = float(abs(run(content, trained.X) - trained.predict(trained.X)).max())
    if not apart <= CLOSE:
        raise ConfigError(f"--onnx must give the network's predictions, got {apart:.1e} off.")
    return content


def run(content: bytes, X: Array) -> Array:
    """The outputs of onnxruntime for X. Raises ConfigError where it is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing() from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(["outputs"], {"inputs": X})
    return np.asarray(outputs, np.float64)


def _missing() -> ConfigError:
    return ConfigError(
        "--onnx must have the packages onnx and onnxruntime, got none (pip install 'bpexp[onnx]')."
    )


_CONSTANTS = {"one": 1.0, "half": 0.5}
