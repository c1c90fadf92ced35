"""PyTorch for the benchmark: rivals/pytorch.ts starts this script and sends it requests.

Requests are lines of JSON on stdin, answers lines of JSON on stdout: {"error": …} if a request
failed. The first request is `start`: it answers the version, or what is missing. The script ends
when stdin does. Arrays are files in a folder: the inputs of a case, and its results as float32.
"""

import ctypes
import json
import os
import signal
import sys
import time


class Case:
    """An operation on its tensors: `compute` returns the results by their names."""

    def __init__(self, torch, request):
        shape = (request["rows"], request["hiddenSize"])
        columns = shape[1:]
        eps = request["eps"]
        dtype = getattr(torch, request["dtype"])

        def tensor(name, shape):
            with open(os.path.join(request["folder"], name), "rb") as file:
                data = bytearray(file.read())
            return torch.frombuffer(data, dtype=dtype).clone().reshape(shape)

        def norm(x):
            return torch.nn.functional.rms_norm(x, columns, weight, eps)

        x = tensor("x", shape)
        weight = tensor("weight", columns)
        if request["op"] == "forward":
            self.compute = lambda: {"y": norm(x)}
        elif request["op"] == "residual":
            residual = tensor("residual", shape)

            def add_and_norm():
                summed = x + residual
                return {"y": norm(summed), "sum": summed}

            self.compute = add_and_norm
        else:
            dy = tensor("dy", shape)
            inputs = (x.requires_grad_(), weight.requires_grad_())
            y = norm(x)

            def gradients():
                dx, dweight = torch.autograd.grad(y, inputs, dy, retain_graph=True)
                return {"dx": dx, "dweight": dweight}

            self.compute = gradients
        self.records = request["op"] == "backward"
        self.results = {}


class Server:
    def start(self, request):
        try:
            import torch
        except (ImportError, OSError) as error:
            return {"missing": str(error)}
        if not hasattr(torch.nn.functional, "rms_norm"):
            return {"missing": f"PyTorch {torch.__version__} has no rms_norm"}
        torch.set_num_threads(request["threads"])
        self.torch = torch
        self.cases = {}
        return {"version": torch.__version__}

    def prepare(self, request):
        self.cases[request["case"]] = Case(self.torch, request)
        return {}

    def run(self, request):
        """Answers the nanoseconds that `repeats` computations take."""
        case = self.cases[request["case"]]
        with self.torch.inference_mode(not case.records):
            start = time.perf_counter_ns()
            for _ in range(request["repeats"]):
                case.results = case.compute()
            return {"ns": time.perf_counter_ns() - start}

    def results(self, request):
        results = self.cases[request["case"]].results
        for name, tensor in results.items():
            floats = tensor.detach().float().contiguous()
            with open(os.path.join(request["folder"], name), "wb") as file:
                file.write(ctypes.string_at(floats.data_ptr(), floats.numel() * 4))
        return {"names": list(results)}

    def dispose(self, request):
        del self.cases[request["case"]]
        return {}


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark handles it and closes stdin
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    sys.stdout = sys.stderr  # only answers go to stdout

    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request["command"])(request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


main()
