"""Times eigenlens and its peers in turn on the same weights and data, and checks that their results agree.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    cargo build --release -p eigenlens-benches --example peer
    .venv/bin/python benches/peers/compare.py target/release/examples/peer --workloads digits lenet --precision f64

Run by hand on a quiet machine. Every figure is a median over rounds in which all programs take their turn; the last column
is the best peer's time over ours. JAX is jitted and warm; PyTorch keeps its graph between products.
"""

import argparse
import os
import subprocess
import tempfile
import time

ALL = ["iris", "digits", "mlp", "lenet", "resnet8", "transformer"]
TASKS = ["gradient", "product", "lanes", "gauss-newton"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the example `peer` of eigenlens-benches")
    parser.add_argument("--workloads", nargs="+", default=ALL, choices=ALL)
    parser.add_argument("--precision", nargs="+", default=["f32", "f64"], choices=["f32", "f64"])
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="also: quadrature, dense:LAYER, values")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


class Ours:
    """The other end of the pipe."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer.startswith("error") or not answer:
            raise RuntimeError(f"{line}: {answer or 'no answer'}")
        return answer

    def seconds(self, task):
        return settled(lambda: float(self.ask(f"time {task} 1")), lambda n: map(float, self.ask(f"time {task} {n}").split()))


def once(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds(function):
    return settled(lambda: once(function), lambda n: [once(function) for _ in range(n)])


def settled(first, more):
    """A turn of one program: of short tasks the median of several runs, when the caches are its own again."""
    time = first()
    return time if time > 0.05 else median(list(more(15 if time < 0.005 else 5)))


def median(values):
    return sorted(values)[len(values) // 2]


def compare(ours, task, peers, rounds, load, directory):
    import numpy as np

    name, _, layer = task.partition(":")
    theirs = {}
    for peer, tasks in peers.items():
        if name in tasks:
            theirs[peer] = (lambda f: lambda: f(int(layer)))(tasks[name]) if layer else tasks[name]
    file = os.path.join(directory, "result.npz")
    ours.ask(f"save {task} {file}")
    result = np.load(file)["y"]
    errors = {}
    for peer, function in theirs.items():
        other = np.asarray(function(), np.float64).ravel()  # also warms it up
        errors[peer] = abs(other - result).max() / abs(result).max()
    ours.seconds(task)
    times = {"eigenlens": []} | {peer: [] for peer in theirs}
    for _ in range(rounds):
        times["eigenlens"].append(ours.seconds(task))
        for peer, function in theirs.items():
            times[peer].append(seconds(function))
    medians = {peer: median(t) for peer, t in times.items()}
    best = min((t for peer, t in medians.items() if peer != "eigenlens"), default=float("nan"))
    cells = "  ".join(f"{peer} {1e3 * t:.3g} ms" + (f" (differs {errors[peer]:.0e})" if peer in errors else "") for peer, t in medians.items())
    print(f"{load:<18} {task:<14} best peer / ours {best / medians['eigenlens']:>6.2f}   {cells}", flush=True)


def main():
    args = arguments()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={args.threads}"
    os.environ["JAX_ENABLE_X64"] = "1"
    import warnings

    warnings.simplefilter("ignore")
    import numpy as np
    import torch
    from safetensors.numpy import load_file

    from peers import Problem, jax_peer, torch_peers

    torch.set_num_threads(args.threads)
    ours = Ours(args.program)
    with tempfile.TemporaryDirectory() as directory:
        for workload in args.workloads:
            for precision in args.precision:
                ours.ask(f"load {workload} {precision}")
                ours.ask(f"export {directory}")
                # The file has tensors in alphabetical order of offsets as written: that of the parameter vector.
                weights = ordered(os.path.join(directory, "weights.safetensors"), load_file)
                problem = Problem(workload, precision, weights, np.load(os.path.join(directory, "samples.npz")))
                peers = {"jax": jax_peer(problem)} | torch_peers(problem)
                for task in args.tasks:
                    compare(ours, task, peers, args.rounds, f"{workload} {precision}", directory)


def ordered(path, load_file):
    """Tensors in the order in which they lie in the file, which is that of θ."""
    import json
    import struct

    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    header.pop("__metadata__", None)
    tensors = load_file(path)
    return {k: tensors[k] for k in sorted(header, key=lambda k: header[k]["data_offsets"][0])}


if __name__ == "__main__":
    main()
