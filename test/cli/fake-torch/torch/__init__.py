"""The subset of PyTorch that bench/subjects/rivals/pytorch.py uses, over arrays of the standard library.
For machines without PyTorch, and to provoke failures. float32 only."""

import array
import contextlib
import math
import os
import types

if os.environ.get("FAKE_TORCH") == "broken":
    raise ImportError("libtorch.so: cannot open shared object file")

__version__ = "2.99.0+fake"
float32 = "float32"


class Tensor:
    def __init__(self, values, shape, graph=None):
        self.values = array.array("f", values)
        self.shape = shape
        self.graph = graph

    def clone(self):
        return Tensor(self.values, self.shape)

    def reshape(self, shape):
        if math.prod(shape) != len(self.values):
            raise RuntimeError(f"shape {shape} is invalid for input of size {len(self.values)}")
        return Tensor(self.values, shape)

    def requires_grad_(self):
        return self

    def detach(self):
        return self

    def float(self):
        return self

    def contiguous(self):
        return self

    def data_ptr(self):
        return self.values.buffer_info()[0]

    def numel(self):
        return len(self.values)

    def __add__(self, other):
        return Tensor([a + b for a, b in zip(self.values, other.values)], self.shape)

    def rows(self):
        size = self.shape[-1]
        return [self.values[i : i + size] for i in range(0, len(self.values), size)]


def frombuffer(data, dtype):
    assert dtype == float32
    values = array.array("f")
    values.frombytes(data)
    return Tensor(values, (len(values),))


def set_num_threads(count):
    assert count >= 1


@contextlib.contextmanager
def inference_mode(mode):
    yield


def rms_norm(x, normalized_shape, weight, eps):
    if os.environ.get("FAKE_TORCH") == "crash":
        os.abort()
    assert normalized_shape == weight.shape == x.shape[-1:]
    values = []
    rstds = []
    for row in x.rows():
        rstd = 1 / math.sqrt(sum(v * v for v in row) / len(row) + eps)
        rstds.append(rstd)
        values.extend(v * rstd * w for v, w in zip(row, weight.values))
    return Tensor(values, x.shape, (x, weight, rstds))


def grad(y, inputs, dy, retain_graph):
    assert retain_graph
    x, weight, rstds = y.graph
    dx = []
    dweight = [0.0] * len(weight.values)
    for row, gradients, rstd in zip(x.rows(), dy.rows(), rstds):
        xhat = [v * rstd for v in row]
        g = [d * w for d, w in zip(gradients, weight.values)]
        mean = sum(a * b for a, b in zip(g, xhat)) / len(row)
        dx.extend(rstd * (a - b * mean) for a, b in zip(g, xhat))
        dweight = [sum + d * h for sum, d, h in zip(dweight, gradients, xhat)]
    return Tensor(dx, x.shape), Tensor(dweight, weight.shape)


functional = types.SimpleNamespace(rms_norm=rms_norm)
if os.environ.get("FAKE_TORCH") == "old":
    functional = types.SimpleNamespace()
nn = types.SimpleNamespace(functional=functional)
autograd = types.SimpleNamespace(grad=grad)
