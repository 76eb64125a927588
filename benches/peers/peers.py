"""Other programs on the same weights and data: each peer answers `tasks` with functions that return NumPy arrays.

A task that a peer has no way to do is missing from its table.
"""

import numpy as np

from nets import Jax, Torch, logits

LANES = 8
PROBES, STEPS = 10, 80


class Problem:
    """Weights (by name, in the order of the parameter vector), samples and directions of a workload."""

    def __init__(self, name, precision, weights, samples):
        kind = np.float32 if precision == "f32" else np.float64
        self.name, self.kind = name, kind
        self.weights = {k: np.asarray(v, kind) for k, v in weights.items()}
        self.y = samples["y"].astype(np.int64)
        self.x = samples["x"].astype(kind).reshape(len(self.y), -1)
        p = sum(w.size for w in self.weights.values())
        self.v = samples["v"].reshape(LANES, p).astype(kind)
        self.layers = {}
        at = 0
        for key, w in self.weights.items():
            layer = key.rsplit(".", 1)[0]
            first, _ = self.layers.get(layer, (at, at))
            at += w.size
            self.layers[layer] = (first, at)


def jax_peer(problem):
    """JAX, jitted: one linearization kept for products; SLQ in one compiled loop per layer."""
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    lib, net = Jax(), logits(problem.name)
    keys = list(problem.weights)
    shapes = [problem.weights[k].shape for k in keys]
    sizes = [int(np.prod(s)) for s in shapes]
    theta = jnp.concatenate([jnp.asarray(problem.weights[k]).ravel() for k in keys])
    x, y, v = jnp.asarray(problem.x), jnp.asarray(problem.y), jnp.asarray(problem.v)

    def tree(t):
        parts = jnp.split(t, np.cumsum(sizes)[:-1])
        return {k: part.reshape(s) for k, part, s in zip(keys, parts, shapes)}

    def loss(t):
        return lib.cross_entropy(net(lib, tree(t), x), y)

    gradient = jax.jit(jax.grad(loss))
    # As in `jax.linearize(...)` with the tangent map compiled: what was saved at the point is an argument.
    _, push = jax.linearize(jax.grad(loss), theta)
    product = jax.jit(push)
    lanes = jax.jit(jax.vmap(push))

    def gauss_newton(t, d):
        out = lambda t: net(lib, tree(t), x)
        z, dz = jax.jvp(out, (t,), (d,))
        head = lambda z: lib.cross_entropy(z, y)
        hz = jax.jvp(jax.grad(head), (z,), (dz,))[1]
        return jax.vjp(out, t)[1](hz)[0]

    gn = jax.jit(gauss_newton)

    def block_of(first, last):
        def apply(d):
            return push(jnp.zeros_like(theta).at[first:last].set(d))[first:last]

        return apply

    def quadrature_of(first, last):
        apply, n = block_of(first, last), last - first

        def probe(start):
            def step(state, j):
                q, q_old, beta, basis = state
                basis = basis.at[j].set(q)
                w = apply(q) - beta * q_old
                alpha = q @ w
                w = w - alpha * q
                for _ in range(2):
                    w = w - basis.T @ (basis @ w)
                beta = jnp.linalg.norm(w)
                return (w / jnp.where(beta > 0, beta, 1), q, beta, basis), (alpha, beta)

            steps = min(STEPS, n)
            basis = jnp.zeros((steps, n), theta.dtype)
            q = start / jnp.linalg.norm(start)
            _, (alpha, beta) = jax.lax.scan(step, (q, jnp.zeros_like(q), jnp.zeros((), theta.dtype), basis), jnp.arange(steps))
            return alpha, beta

        return jax.jit(probe)

    quadratures = [(quadrature_of(a, b), b - a) for a, b in problem.layers.values()]

    def quadrature():
        rng = np.random.default_rng(0)
        moments = []
        for probe, n in quadratures:
            runs = [probe(jnp.asarray(rng.choice([-1.0, 1.0], n).astype(problem.kind))) for _ in range(PROBES)]
            alphas = np.array([np.asarray(alpha)[0] for alpha, _ in runs])
            seconds = np.array([np.asarray(alpha)[0] ** 2 + np.asarray(beta)[0] ** 2 for alpha, beta in runs])
            moments += [alphas.mean(), seconds.mean()]
        return np.array(moments)

    dense = {}

    def dense_of(layer):
        if layer not in dense:
            first, last = list(problem.layers.values())[layer]
            dense[layer] = (jax.jit(jax.vmap(block_of(first, last))), last - first)
        apply, n = dense[layer]
        eye = jnp.eye(n, dtype=theta.dtype)
        # Eight columns at a time: more are slower.
        return np.concatenate([np.asarray(apply(eye[i : i + LANES])) for i in range(0, n, LANES)])

    return {
        "gradient": lambda: np.asarray(gradient(theta)),
        "product": lambda: np.asarray(product(v[0])),
        "lanes": lambda: np.asarray(lanes(v)),
        "gauss-newton": lambda: np.asarray(gn(theta, v[0])),
        "quadrature": quadrature,
        "dense": dense_of,
    }


def torch_peers(problem):
    """PyTorch by double backward with the graph kept; curvlinops, PyHessian and hessian-eigenthings on the same module."""
    import torch

    lib, net = Torch(), logits(problem.name)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.keys = list(problem.weights)
            self.values = torch.nn.ParameterList(torch.tensor(w) for w in problem.weights.values())

        def forward(self, x):
            return net(lib, dict(zip(self.keys, self.values)), x)

    module = Module()
    params = list(module.parameters())
    x, y = torch.tensor(problem.x), torch.tensor(problem.y)
    v = torch.tensor(problem.v)
    criterion = torch.nn.CrossEntropyLoss()
    flat = lambda parts: torch.cat([g.reshape(-1) for g in parts])

    def split(d):
        return [part.reshape(p.shape) for part, p in zip(torch.split(d, [p.numel() for p in params]), params)]

    def gradient():
        return flat(torch.autograd.grad(criterion(module(x), y), params)).numpy()

    kept = torch.autograd.grad(criterion(module(x), y), params, create_graph=True)

    def product():
        return flat(torch.autograd.grad(kept, params, split(v[0]), retain_graph=True)).numpy()

    peers = {"torch": {"gradient": gradient, "product": product}}
    try:
        from curvlinops import GGNLinearOperator, HessianLinearOperator

        data = [(x, y)]
        options = {"check_deterministic": False}
        hessian = HessianLinearOperator(module, criterion, params, data, **options)
        ggn = GGNLinearOperator(module, criterion, params, data, **options)
        peers["curvlinops"] = {
            "product": lambda: (hessian @ v[0]).detach().numpy(),
            "lanes": lambda: (hessian @ v.T).T.detach().numpy(),
            "gauss-newton": lambda: (ggn @ v[0]).detach().numpy(),
        }
    except Exception as error:  # a peer that doesn't run here is left out, and said so
        print(f"curvlinops left out: {error}")
    try:
        from pyhessian import hessian as pyhessian
        from pyhessian.utils import hessian_vector_product

        its = pyhessian(module, criterion, data=(x, y), cuda=False)
        peers["pyhessian"] = {
            "product": lambda: flat(hessian_vector_product(its.gradsH, its.params, split(v[0]))).detach().numpy()
        }
    except Exception as error:
        print(f"pyhessian left out: {error}")
    try:
        from hessian_eigenthings import HessianOperator, supervised_loss

        theirs = HessianOperator(module, [(x, y)], supervised_loss(criterion))
        peers["eigenthings"] = {"product": lambda: theirs.matvec(v[0]).detach().numpy()}
    except Exception as error:
        print(f"hessian-eigenthings left out: {error}")
    return peers
