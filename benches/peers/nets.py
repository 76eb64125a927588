"""The networks of the workloads as functions of named parameters, once for every array library.

`logits(name)(lib, p, x)` takes a library (`Jax` or `Torch`), parameters by their PyTorch names and a batch.
"""

import math


class Jax:
    """The operations that the networks need, in JAX."""

    def __init__(self):
        import jax
        import jax.numpy as jnp

        self.np, self.nn, self.lax = jnp, jax.nn, jax.lax

    def tanh(self, x):
        return self.np.tanh(x)

    def relu(self, x):
        return self.nn.relu(x)

    def gelu(self, x):
        return self.nn.gelu(x, approximate=False)

    def softmax(self, x):
        return self.nn.softmax(x, axis=-1)

    def conv(self, x, w, b, stride=1, padding=0):
        pads = [(padding, padding)] * 2
        y = self.lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=("NCHW", "OIHW", "NCHW"))
        return y + b[None, :, None, None]

    def pool(self, x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))

    def norm(self, x, w, b):
        centred = x - x.mean(-1, keepdims=True)
        return centred / self.np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w + b

    def swap(self, x, a, b):
        return self.np.swapaxes(x, a, b)

    def cross_entropy(self, out, y):
        rows = self.np.arange(out.shape[0])
        return -self.nn.log_softmax(out, axis=-1)[rows, y].mean()


class Torch:
    """The same in PyTorch."""

    def __init__(self):
        import torch

        self.torch, self.f = torch, torch.nn.functional

    def tanh(self, x):
        return self.torch.tanh(x)

    def relu(self, x):
        return self.f.relu(x)

    def gelu(self, x):
        return self.f.gelu(x)

    def softmax(self, x):
        return self.torch.softmax(x, -1)

    def conv(self, x, w, b, stride=1, padding=0):
        return self.f.conv2d(x, w, b, stride, padding)

    def pool(self, x):
        return self.f.avg_pool2d(x, 2)

    def norm(self, x, w, b):
        return self.f.layer_norm(x, (x.shape[-1],), w, b, 1e-5)

    def swap(self, x, a, b):
        return x.transpose(a, b)

    def cross_entropy(self, out, y):
        return self.f.cross_entropy(out, y)


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def convolve(lib, p, name, x, **window):
    return lib.conv(x, p[f"{name}.weight"], p[f"{name}.bias"], **window)


def mlp(lib, p, x):
    layers = sorted({name.split(".")[0] for name in p}, key=lambda name: int(name[2:]))
    for name in layers[:-1]:
        x = lib.tanh(linear(p, name, x))
    return linear(p, layers[-1], x)


def lenet(lib, p, x):
    x = lib.pool(lib.tanh(convolve(lib, p, "conv1", x.reshape(-1, 1, 28, 28), padding=2)))
    x = lib.pool(lib.tanh(convolve(lib, p, "conv2", x)))
    x = x.reshape(x.shape[0], -1)
    x = lib.tanh(linear(p, "fc1", x))
    return linear(p, "head", lib.tanh(linear(p, "fc2", x)))


def resnet8(lib, p, x):
    x = lib.relu(convolve(lib, p, "stem", x.reshape(-1, 3, 32, 32), padding=1))
    for stage in (1, 2, 3):
        name, stride = f"s{stage}b1", 1 if stage == 1 else 2
        h = lib.relu(convolve(lib, p, f"{name}.conv1", x, stride=stride, padding=1))
        h = convolve(lib, p, f"{name}.conv2", h, padding=1)
        skip = convolve(lib, p, f"{name}.skip", x, stride=2) if stride == 2 else x
        x = lib.relu(h + skip)
    return linear(p, "head", x.mean((2, 3)))


def transformer(lib, p, x, heads=4):
    x = convolve(lib, p, "patches", x.reshape(-1, 1, 28, 28), stride=7)
    n, width = x.shape[:2]
    x = lib.swap(x.reshape(n, width, -1), 1, 2) + p["places.weight"]
    tokens = x.shape[1]
    normed = lib.norm(x, p["block1.norm1.weight"], p["block1.norm1.bias"])
    split = lambda what: lib.swap(linear(p, f"block1.attn.{what}", normed).reshape(n, tokens, heads, -1), 1, 2)
    q, k, v = split("q"), split("k"), split("v")
    scores = lib.softmax(q @ lib.swap(k, -1, -2) / math.sqrt(width // heads))
    mixed = lib.swap(scores @ v, 1, 2).reshape(n, tokens, width)
    x = x + linear(p, "block1.attn.o", mixed)
    normed = lib.norm(x, p["block1.norm2.weight"], p["block1.norm2.bias"])
    x = x + linear(p, "block1.down", lib.gelu(linear(p, "block1.up", normed)))
    return linear(p, "head", lib.norm(x, p["norm.weight"], p["norm.bias"]).mean(1))


def logits(workload):
    return {"lenet": lenet, "resnet8": resnet8, "transformer": transformer}.get(workload, mlp)
