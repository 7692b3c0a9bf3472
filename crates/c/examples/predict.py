#!/usr/bin/env python3
"""What a trained network says of one picture, without any package: the library is loaded as it is.

    python3 predict.py target/release/libdropforge_c.so runs/digits five.png
"""

import ctypes
import sys


class Model:
    """A trained network; `with Model(library, run) as model: model.predict(numbers)`."""

    def __init__(self, library, run):
        self.library = ctypes.CDLL(library)
        for name in ["error", "class"]:
            getattr(self.library, f"dropforge_{name}").restype = ctypes.c_char_p
        for name in ["inputs", "outputs", "class_count"]:
            function = getattr(self.library, f"dropforge_{name}")
            function.restype, function.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
        self.library.dropforge_class.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        floats = ctypes.POINTER(ctypes.c_float)
        self.library.dropforge_predict.argtypes = [ctypes.c_void_p, floats, ctypes.c_size_t, floats]
        self.library.dropforge_predict_image.argtypes = [ctypes.c_void_p, ctypes.c_char_p, floats]
        self.library.dropforge_open.restype = ctypes.c_void_p
        self.library.dropforge_close.argtypes = [ctypes.c_void_p]
        self.model = self.library.dropforge_open(run.encode())
        if not self.model:
            raise OSError(self.library.dropforge_error().decode())
        self.inputs = self.library.dropforge_inputs(self.model)
        self.outputs = self.library.dropforge_outputs(self.model)
        count = self.library.dropforge_class_count(self.model)
        self.classes = [self.library.dropforge_class(self.model, index).decode() for index in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.dropforge_close(self.model)
        self.model = None

    def predict(self, numbers):
        """A row of outputs for each sample; numbers of all samples one after another."""
        samples = len(numbers) // max(1, self.inputs)
        if samples * self.inputs != len(numbers):
            raise ValueError(f"samples have {self.inputs} numbers, got {len(numbers)} in all")
        given = (ctypes.c_float * len(numbers))(*numbers)
        rows = (ctypes.c_float * (samples * self.outputs))()
        self._check(self.library.dropforge_predict(self.model, given, samples, rows))
        return [list(rows[start : start + self.outputs]) for start in range(0, len(rows), self.outputs)]

    def predict_image(self, path):
        """The row of outputs for a picture."""
        row = (ctypes.c_float * self.outputs)()
        self._check(self.library.dropforge_predict_image(self.model, path.encode(), row))
        return list(row)

    def _check(self, status):
        if status != 0:
            raise ValueError(self.library.dropforge_error().decode())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: predict.py LIBRARY RUN PICTURE")
    with Model(sys.argv[1], sys.argv[2]) as model:
        for index, value in enumerate(model.predict_image(sys.argv[3])):
            name = model.classes[index] if model.classes else ""
            print(f"{name}\t{value:.6f}")
