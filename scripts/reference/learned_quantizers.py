"""Values and gradients of the learned quantizers: crates/quant/tests/data/learned_quantizers.json.

    python learned_quantizers.py

Each quantizer is a graph of PyTorch operations in double precision, with straight-through estimators written as
torch.autograd.Function where PyTorch has none. Inputs are f32 numbers that keep a distance from every threshold, so that
single precision decides alike. `gradient` is that of sum(up * output) for the input and for each parameter.
"""

import argparse
import json
import math
from pathlib import Path

import torch

OUT = Path(__file__).resolve().parents[2] / "crates" / "quant" / "tests" / "data" / "learned_quantizers.json"
DISTANCE = 1e-4


class Round(torch.autograd.Function):
    """Rounding with the gradient 1."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


class ScaleGradient(torch.autograd.Function):
    """The value of x; its gradient times `factor`."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


class ElementWise(torch.autograd.Function):
    """Rounding of n * x to multiples of 1 / n, with EWGS' gradient."""

    @staticmethod
    def forward(ctx, x, n, delta):
        q = torch.round(n * x) / n
        ctx.save_for_backward(x - q)
        ctx.delta = delta
        return q

    @staticmethod
    def backward(ctx, g):
        (error,) = ctx.saved_tensors
        return g * (1 + ctx.delta * torch.sign(g) * error), None, None


class Pact(torch.autograd.Function):
    """clip(x, 0, alpha), rounded to n steps."""

    @staticmethod
    def forward(ctx, x, alpha, n):
        ctx.save_for_backward(x, alpha)
        y = torch.minimum(torch.clamp(x, min=0), alpha)
        return torch.round(y * n / alpha) * alpha / n

    @staticmethod
    def backward(ctx, g):
        x, alpha = ctx.saved_tensors
        above = (x >= alpha).double()
        return g * ((x >= 0) & (x < alpha)).double(), reduce(g * above, alpha), None


class Nearest(torch.autograd.Function):
    """The nearest of fixed levels to v = x / alpha, times alpha, with APoT's gradient of alpha."""

    @staticmethod
    def forward(ctx, x, alpha, levels):
        v = x / alpha
        q = levels[(v[..., None] - levels).abs().argmin(-1)]
        ctx.save_for_backward(v, q, alpha)
        ctx.ends = (levels.min(), levels.max())
        return q * alpha

    @staticmethod
    def backward(ctx, g):
        v, q, alpha = ctx.saved_tensors
        low, high = ctx.ends
        inside = ((v >= low) & (v <= high)).double()
        end = torch.where(v < low, low, high)
        slope = inside * (q - v) + (1 - inside) * end
        return g * inside, reduce(g * slope, alpha), None


class Xnor(torch.autograd.Function):
    """mean|w| * sign(w) with the gradient 1 / N + m * 1[|w| <= c]."""

    @staticmethod
    def forward(ctx, w, magnitude, count, clip):
        ctx.save_for_backward(w, magnitude)
        ctx.count, ctx.clip = count, clip
        return magnitude * sign(w)

    @staticmethod
    def backward(ctx, g):
        w, magnitude = ctx.saved_tensors
        return g * (1 / ctx.count + magnitude * (w.abs() <= ctx.clip).double()), None, None, None


class ClipSign(torch.autograd.Function):
    """The sign with the gradient 1[|x| <= c]."""

    @staticmethod
    def forward(ctx, x, clip):
        ctx.save_for_backward(x)
        ctx.clip = clip
        return sign(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x.abs() <= ctx.clip).double(), None


class BiRealSign(torch.autograd.Function):
    """The sign with the gradient of Bi-Real Net."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        slope = torch.zeros_like(x)
        slope = torch.where((x >= -1) & (x < 0), 2 + 2 * x, slope)
        return g * torch.where((x >= 0) & (x < 1), 2 - 2 * x, slope)


def sign(x):
    return torch.where(x > 0, 1.0, -1.0).double()


def reduce(gradient, like):
    """Sums a gradient to the shape of what was broadcast."""
    dims = [d for d in range(gradient.dim()) if like.shape[d] == 1 and gradient.shape[d] != 1]
    return gradient.sum(dims, keepdim=True) if dims else gradient


class Site:
    """What a quantizer knows of its tensor; the fields that the test reads."""

    def __init__(self, role, bits, shape, axis, signed):
        self.role, self.bits, self.shape, self.axis, self.signed = role, bits, shape, axis, signed
        self.groups = 1 if axis is None else shape[axis]
        self.n = 2**bits - 1

    def spread(self, p):
        shape = [1] * 4
        if self.axis is not None:
            shape[self.axis] = self.groups
        return p.reshape(shape)

    def by_group(self, x):
        """[group, value]"""
        return x.reshape(1, -1) if self.axis is None else x.transpose(0, self.axis).reshape(self.groups, -1)

    def share(self):
        values = math.prod(self.shape) // (1 if self.role == "weight" else self.shape[0])
        return values // self.groups

    def codes(self):
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, self.n)


def lsq(site, x, p, _options):
    low, high = site.codes()
    step = ScaleGradient.apply(site.spread(p["step"]), 1 / math.sqrt(site.share() * high))
    return Round.apply(torch.clamp(x / step, low, high)) * step


def lsq_plus(site, x, p, options):
    if site.role == "weight":
        return lsq(site, x, p, options)
    scale = 1 / math.sqrt(site.share() * site.n)
    step = ScaleGradient.apply(site.spread(p["step"]), scale)
    offset = ScaleGradient.apply(site.spread(p["offset"]), scale)
    return Round.apply(torch.clamp((x - offset) / step, 0, site.n)) * step + offset


def pact(site, x, p, _options):
    return Pact.apply(x, site.spread(p["alpha"]), site.n)


def dorefa(site, x, _p, options):
    if site.role == "activation":
        clip = options.get("clip", 1.0)
        return Round.apply(torch.clamp(x, 0, clip) * site.n / clip) * clip / site.n
    t = torch.tanh(x)
    largest = site.spread(site.by_group(t.abs()).max(1).values)
    scale = largest.detach() if options.get("restore", True) else 1.0
    return scale * (2 * Round.apply(site.n * (t / largest + 1) / 2) / site.n - 1)


def ewgs(site, x, p, options):
    lower, upper, scale = (site.spread(p[name]) for name in ("lower", "upper", "scale"))
    normalised = torch.clamp((x - lower) / (upper - lower), 0, 1)
    q = ElementWise.apply(normalised, site.n, options.get("delta", 1e-3))
    return scale * (2 * q - 1) if site.signed else scale * q


def n2uq(site, x, p, options):
    if site.role == "weight":
        clip = site.spread(p["clip"])
        s = site.spread(site.by_group(x.abs()).mean(1)).detach() * site.n / 2 ** (site.bits - 1)
        v = torch.minimum(torch.maximum(x / s, -clip / 2), clip / 2)
        return s * (Round.apply((v + clip / 2) * site.n / clip) * clip / site.n - clip / 2)
    delta = options.get("range", 2.0) / site.n
    z = x * site.spread(p["input-scale"])
    a = torch.clamp(p["segments"], min=options.get("least_segment", 1e-3)).reshape(site.groups, site.n)
    begin = p["start"]
    forward, backward = torch.zeros_like(z), torch.zeros_like(z)
    for i in range(site.n):
        length, first = site.spread(a[:, i]), site.spread(begin)
        forward = torch.where(z > first + length / 2, (i + 1) * delta, forward)
        backward = torch.where(z > first, i * delta + (z - first) * delta / length, backward)
        begin = begin + a[:, i]
    backward = torch.where(z > site.spread(begin), site.n * delta, backward)
    return (forward.detach() + backward - backward.detach()) * site.spread(p["output-scale"])


def units(name, bits):
    """The magnitudes of `bits` bits, one of them a sign."""
    if name == "power-of-two":
        return [0.0] + [2.0**-k for k in range(2 ** (bits - 1) - 1)]
    m = bits - 1
    terms, odd = m // 2, m % 2
    sums = [0.0]
    for i in range(terms):
        sums = [s + e for s in sums for e in (0, 2.0**-i, 2.0 ** -(i + terms), 2.0 ** -(i + 2 * terms + odd))]
    if odd:
        sums = [s + e for s in sums for e in (0, 2.0 ** (-2 * terms))]
    return [s / max(sums) for s in sums]


def clipped_levels(name):
    def quantize(site, x, p, options):
        magnitudes = torch.tensor(units(name, site.bits if site.signed else site.bits + 1), dtype=torch.float64)
        levels = torch.cat([-magnitudes, magnitudes]) if site.signed else magnitudes
        levels = levels.unique()
        mean, deviation = torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 1, 1, 1).double()
        if site.role == "weight" and options.get("normalize", True):
            grouped = site.by_group(x).detach()
            mean, deviation = site.spread(grouped.mean(1)), site.spread(grouped.std(1))
        return mean + deviation * Nearest.apply((x - mean) / deviation, site.spread(p["alpha"]), levels)

    return quantize


def binary(site, x, p, options):
    clip = options.get("clip", 1.0)
    if site.role == "activation":
        return site.spread(p["scale"]) * ClipSign.apply(x, clip)
    magnitude = site.spread(site.by_group(x.abs()).mean(1)).detach()
    if options.get("gradient") == "clip":
        clipped = torch.clamp(x, -clip, clip)
        return (magnitude * sign(x)).detach() + clipped - clipped.detach()
    return Xnor.apply(x, magnitude, site.share(), clip)


def reactnet(site, x, p, _options):
    return site.spread(p["scale"]) * BiRealSign.apply(x - site.spread(p["shift"]))


def ternary(site, x, p, options):
    threshold = options.get("threshold", 0.7) * site.spread(site.by_group(x.abs()).mean(1)).detach()
    t = sign(x) * (x.abs() > threshold).double()
    return site.spread(p["scale"]) * t.detach() + x - x.detach()


QUANTIZERS = {
    "lsq": lsq,
    "lsq-plus": lsq_plus,
    "pact": pact,
    "dorefa": dorefa,
    "ewgs": ewgs,
    "n2uq": n2uq,
    "apot": clipped_levels("apot"),
    "power-of-two": clipped_levels("power-of-two"),
    "binary": binary,
    "reactnet": reactnet,
    "ternary": ternary,
}

WEIGHT, ACTIVATION = (4, 2, 2, 3), (3, 2, 2, 3)
TENSOR, CHANNEL = None, "channel"

# name, role, bits, axis, signed, options, parameters of each group (cycled)
CASES = [
    ("lsq", "weight", 3, TENSOR, True, {}, {"step": [0.31]}),
    ("lsq", "weight", 4, CHANNEL, True, {}, {"step": [0.2, 0.35, 0.11, 0.5]}),
    ("lsq", "activation", 2, TENSOR, False, {}, {"step": [0.62]}),
    ("lsq", "activation", 3, CHANNEL, True, {}, {"step": [0.4, 0.21]}),
    ("lsq-plus", "weight", 3, CHANNEL, True, {}, {"step": [0.2, 0.35, 0.11, 0.5]}),
    ("lsq-plus", "activation", 3, TENSOR, True, {}, {"step": [0.37], "offset": [-0.83]}),
    ("lsq-plus", "activation", 2, CHANNEL, False, {}, {"step": [0.4, 0.6], "offset": [0.12, -0.07]}),
    ("pact", "activation", 3, TENSOR, False, {}, {"alpha": [1.3]}),
    ("pact", "activation", 4, CHANNEL, False, {}, {"alpha": [1.3, 0.7]}),
    ("dorefa", "weight", 3, TENSOR, True, {}, {}),
    ("dorefa", "weight", 2, CHANNEL, True, {"restore": False}, {}),
    ("dorefa", "activation", 3, TENSOR, False, {}, {}),
    ("dorefa", "activation", 2, CHANNEL, False, {"clip": 1.7}, {}),
    ("ewgs", "weight", 3, TENSOR, True, {"delta": 0.3}, {"lower": [-1.1], "upper": [1.25], "scale": [0.9]}),
    ("ewgs", "weight", 1, CHANNEL, True, {}, {"lower": [-1.1, -0.9], "upper": [1.25, 0.6], "scale": [0.9, 1.4]}),
    ("ewgs", "activation", 2, TENSOR, False, {"delta": 0.2}, {"lower": [0.07], "upper": [1.6], "scale": [1.45]}),
    ("ewgs", "activation", 3, CHANNEL, True, {}, {"lower": [-1.5, -1.0], "upper": [1.6, 0.8], "scale": [1.45, 0.7]}),
    ("n2uq", "weight", 3, CHANNEL, True, {}, {"clip": [2.0, 3.1, 1.4, 2.6]}),
    ("n2uq", "weight", 2, TENSOR, True, {}, {"clip": [1.5]}),
    (
        "n2uq", "activation", 2, TENSOR, False, {},
        {"input-scale": [1.2], "start": [0.11], "segments": [[0.5, 0.8, 0.63]], "output-scale": [0.9]},
    ),
    (
        "n2uq", "activation", 2, CHANNEL, False, {"range": 3.0},
        {
            "input-scale": [1.2, 0.9],
            "start": [0.11, -0.2],
            "segments": [[0.5, 0.8, 0.63], [1.1, 0.3, 0.45]],
            "output-scale": [0.9, 0.55],
        },
    ),
    ("apot", "weight", 4, TENSOR, True, {}, {"alpha": [1.4]}),
    ("apot", "weight", 3, CHANNEL, True, {}, {"alpha": [1.4, 0.9, 1.1, 2.0]}),
    ("apot", "weight", 3, TENSOR, True, {"normalize": False}, {"alpha": [1.2]}),
    ("apot", "activation", 4, TENSOR, False, {}, {"alpha": [1.3]}),
    ("apot", "activation", 3, CHANNEL, True, {}, {"alpha": [1.3, 0.8]}),
    ("power-of-two", "weight", 3, CHANNEL, True, {}, {"alpha": [1.4, 0.9, 1.1, 2.0]}),
    ("power-of-two", "activation", 3, TENSOR, False, {}, {"alpha": [1.3]}),
    ("binary", "weight", 1, TENSOR, True, {}, {}),
    ("binary", "weight", 1, CHANNEL, True, {"gradient": "clip"}, {}),
    ("binary", "activation", 1, CHANNEL, True, {"clip": 0.8}, {"scale": [0.6, 1.1]}),
    ("reactnet", "activation", 1, CHANNEL, True, {}, {"shift": [0.15, -0.3], "scale": [0.6, 1.1]}),
    ("reactnet", "activation", 1, TENSOR, False, {}, {"shift": [0.4], "scale": [0.9]}),
    ("ternary", "weight", 2, TENSOR, True, {}, {"scale": [0.8]}),
    ("ternary", "weight", 2, CHANNEL, True, {"threshold": 0.6}, {"scale": [0.8, 0.5, 1.1, 0.9]}),
]


def numbers(count, seed):
    """Numbers from about -2 to 2 without a random generator."""
    return torch.tensor([2.0 * math.sin(1.7 * (i + 1) * (1 + 0.13 * seed) + seed) for i in range(count)]).float()


def f32(values):
    return torch.tensor(values, dtype=torch.float32)


def case(index, name, role, bits, axis, signed, options, parameters):
    shape = WEIGHT if role == "weight" else ACTIVATION
    axis = None if axis is TENSOR else (0 if role == "weight" else 1)
    site = Site(role, bits, shape, axis, signed)
    quantize = QUANTIZERS[name]
    leaves = {}
    for key, values in parameters.items():
        cycled = [values[group % len(values)] for group in range(site.groups)]
        leaves[key] = f32(cycled).flatten()
    for seed in range(index, index + 4000, 40):
        x = numbers(math.prod(shape), seed)
        x = (x if signed else x.abs() * 0.999).reshape(shape)
        if far(site, quantize, x.double(), {key: p.double() for key, p in leaves.items()}, options):
            break
    else:
        raise SystemExit(f"{name}: no input keeps its distance")
    up = numbers(math.prod(shape), 3.3 + index).reshape(shape)
    tracked = x.double().requires_grad_()
    tracked_leaves = {key: p.double().requires_grad_() for key, p in leaves.items()}
    output = quantize(site, tracked, tracked_leaves, options)
    (output * up.double()).sum().backward()
    listed = lambda tensor: [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]
    return {
        "name": name,
        "options": options,
        "role": role,
        "bits": bits,
        "axis": axis,
        "signed": signed,
        "shape": shape,
        "x": listed(x),
        "up": listed(up),
        "parameters": {key: listed(p) for key, p in leaves.items()},
        "output": listed(output),
        "x_gradient": listed(tracked.grad),
        "parameter_gradients": {key: listed(p.grad) for key, p in tracked_leaves.items()},
    }


def far(site, quantize, x, parameters, options):
    """Whether no value changes its level, and no gradient its kind, when all inputs move a little."""

    def look(moved):
        x_ = moved.clone().requires_grad_()
        leaves = {key: p.clone().requires_grad_() for key, p in parameters.items()}
        output = quantize(site, x_, leaves, options)
        output.sum().backward()
        return output.detach(), x_.grad

    base, slope = look(x)
    for move in (DISTANCE, -DISTANCE):
        other, other_slope = look(x + move)
        if (other - base).abs().max() > 20 * DISTANCE or (other_slope - slope).abs().max() > 40 * DISTANCE:
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    cases = [case(index, *entry) for index, entry in enumerate(CASES)]
    lines = ",\n".join(json.dumps(entry) for entry in cases)
    out.write_text("[\n" + lines + "\n]\n")
    print(f"{len(cases)} cases, {out.stat().st_size} bytes: {out}")


if __name__ == "__main__":
    main()
