"""ONNX Runtime: predictions."""

import numpy as np

FRACTION = 1.0
ACTIVATIONS = {"sigmoid": "Sigmoid", "relu": "Relu"}


def prepare(job, X, y):
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    if job.epochs:
        return None
    rng = np.random.default_rng(0)
    nodes, constants, last = [], [], "x"
    kinds = [ACTIVATIONS[job.activation]] * (len(job.sizes) - 1)
    if job.loss == "cross_entropy":
        kinds[-1] = "Softmax"
    for l, (i, o) in enumerate(zip(job.sizes[:-1], job.sizes[1:], strict=True)):
        constants += [
            numpy_helper.from_array(rng.normal(size=(i, o)).astype(np.float32), f"w{l}"),
            numpy_helper.from_array(np.zeros(o, np.float32), f"b{l}"),
        ]
        nodes += [
            helper.make_node("Gemm", [last, f"w{l}", f"b{l}"], [f"z{l}"]),
            helper.make_node(kinds[l], [f"z{l}"], [f"a{l}"]),
        ]
        last = f"a{l}"
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])]
        for name, width in (("x", job.sizes[0]), (last, job.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": X})
