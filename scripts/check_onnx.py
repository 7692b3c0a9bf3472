"""Helps scripts/check-onnx.

`node-tests FOLDER` writes the standard's tests of operators. `compare FOLDER` gives every model in a folder to the standard's
checker and to ONNX Runtime, and compares what comes out with the expected outputs beside it.
"""

import os
import sys

import numpy
import onnx
from onnx import numpy_helper

# Absolute up to 1, relative beyond.
TOLERANCE = 1e-4


def node_tests(folder):
    import onnx.backend.test.case.model as model
    import onnx.backend.test.case.node as node
    import onnx.backend.test.cmd_tools as tools

    model.collect_testcases = lambda: node.collect_testcases(None)

    class Arguments:
        output = folder

    tools.generate_data(Arguments)


def tensors(folder, kind):
    found = []
    while os.path.exists(path := os.path.join(folder, f"{kind}_{len(found)}.pb")):
        with open(path, "rb") as file:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(file.read())))
    return found


def compare_one(folder):
    import onnxruntime

    path = os.path.join(folder, "model.onnx")
    onnx.checker.check_model(path, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    data = os.path.join(folder, "test_data_set_0")
    names = [port.name for port in session.get_inputs()]
    found = session.run(None, dict(zip(names, tensors(data, "input"))))
    for want, have in zip(tensors(data, "output"), found, strict=True):
        if want.shape != have.shape or want.dtype != have.dtype:
            raise ValueError(f"{have.dtype}{list(have.shape)} instead of {want.dtype}{list(want.shape)}")
        distance = numpy.abs(want.astype(numpy.float64) - have.astype(numpy.float64))
        allowed = TOLERANCE * numpy.maximum(1.0, numpy.abs(want.astype(numpy.float64)))
        if not (distance <= allowed).all():
            raise ValueError(f"differs by {distance.max():.3g}")


def compare(folder):
    wrong = 0
    names = sorted(os.listdir(folder))
    for name in names:
        try:
            compare_one(os.path.join(folder, name))
        except Exception as error:
            wrong += 1
            print(f"{name}: {str(error).strip()[:300]}", file=sys.stderr)
    print(f"{len(names) - wrong} of {len(names)} models pass the checker and give the same in ONNX Runtime")
    return wrong


if __name__ == "__main__":
    command, where = sys.argv[1:]
    if command == "node-tests":
        node_tests(where)
    else:
        sys.exit(1 if compare(where) else 0)
