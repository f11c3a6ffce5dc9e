"""Codes, values and ranges of the quantizers: crates/quant/tests/data/quantizers.json.

    python quantizer_reference.py

Every step is one PyTorch operation in single precision, in the order of the formula, so an implementation in f32 without
fused operations reproduces each bit. Only the errors of the range search and the percentiles are summed up in f64.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import inputs

OUT = Path(__file__).resolve().parents[2] / "crates" / "quant" / "tests" / "data" / "quantizers.json"
BITS = (2, 3, 4, 8)

FORMULAS = {
    "zeroq-affine": "n = 2^b - 1; scale = n / max(max - min, 1e-8); zero = round(scale * min) + 2^(b-1); "
    "code = clamp(round(scale * x - zero), -2^(b-1), 2^(b-1) - 1); value = (code + zero) / scale",
    "brecq-affine": "scale = max((max - min) / (2^b - 1), 1e-8); zero = round(-min / scale); "
    "code = clamp(round(x / scale) + zero, 0, 2^b - 1); value = (code - zero) * scale",
    "symmetric": "n = 2^(b-1) - 1; scale = max(max(|min|, |max|) / n, 1e-8); zero = 0; "
    "code = clamp(round(x / scale), -n, n); value = code * scale",
}


def zeroq_affine(x, low, high, bits):
    half = 2 ** (bits - 1)
    scale = (2**bits - 1) / torch.clamp(high - low, min=1e-8)
    zero = torch.round(scale * low) + half
    code = torch.clamp(torch.round(scale * x - zero), -half, half - 1)
    return code, (code + zero) / scale, scale, zero


def brecq_affine(x, low, high, bits):
    top = 2**bits - 1
    scale = torch.clamp((high - low) / top, min=1e-8)
    zero = torch.round(-low / scale)
    code = torch.clamp(torch.round(x / scale) + zero, 0, top)
    return code, (code - zero) * scale, scale, zero


def symmetric(x, low, high, bits):
    top = 2 ** (bits - 1) - 1
    scale = torch.clamp(torch.maximum(low.abs(), high.abs()) / top, min=1e-8)
    code = torch.clamp(torch.round(x / scale), -top, top)
    return code, code * scale, scale, torch.zeros_like(scale)


QUANTIZERS = {"zeroq-affine": zeroq_affine, "brecq-affine": brecq_affine, "symmetric": symmetric}


def per_tensor() -> dict[str, list[float]]:
    """Vectors for one range."""
    u = inputs.unit(40)
    return {
        # On [-2, 1.75] and 4 bits both affine scales are exactly 4 or 1/4, and every second value below is a tie.
        "ties": [k / 8 for k in range(-16, 15)] + [-5.0, -2.125, 1.875, 2.0, 100.0, -100.0, 0.0, -0.0, 0.124999, 0.125001],
        "spread": (u * 7 - 2.6).tolist(),
        "positive": [0.0, 0.0, *(u[:36] ** 3 * 5.3).tolist(), 0.0, 5.9],
        "negative": (-(u**2) * 0.83 - 0.001).tolist(),
        "away from zero": (u * 0.25 + 0.5).tolist(),
        "extremes": [1e-30, -1e-30, 1e-6, -1e-6, 3e5, -1.5e5, 1.0, -1.0, 65504.0, 0.0, *(u[:30] * 2e5 - 1e5).tolist()],
        "all zero": [0.0] * 8,
        "constant": [3.5] * 8,
        "negative constant": [-0.3] * 8,
        "one value": [0.7],
    }


def channels() -> list[list[float]]:
    """A weight of six output channels of eight values."""
    u = inputs.unit(48).reshape(6, 8)
    return [
        (u[0] * 2 - 1).tolist(),
        [0.0] * 8,
        [0.125] * 8,
        (u[3] * 0.02 + 0.4).tolist(),
        (-u[4] * 30).tolist(),
        [-1e-9, 1e-9, 0.0, 2e-9, -2e-9, 5e-10, 0.0, 1e-9],
    ]


def quantize_cases() -> tuple[dict, list[dict]]:
    tensors, cases = {}, []

    def add(tensor: str, x: torch.Tensor, low: torch.Tensor, high: torch.Tensor, range_name: str, bits_list=BITS):
        for name, quantizer in QUANTIZERS.items():
            for bits in bits_list:
                code, value, scale, zero = quantizer(x, low, high, bits)
                cases.append(
                    {
                        "quantizer": name,
                        "bits": bits,
                        "tensor": tensor,
                        "granularity": "per-channel" if x.dim() == 2 else "per-tensor",
                        "range": range_name,
                        "min": inputs.exact(low.reshape(-1)),
                        "max": inputs.exact(high.reshape(-1)),
                        "scale": inputs.exact(scale.reshape(-1)),
                        "zero": inputs.exact(zero.reshape(-1)),
                        "codes": [int(c) for c in code.reshape(-1).tolist()],
                        "values": inputs.exact(value.reshape(-1)),
                    }
                )

    for name, values in per_tensor().items():
        x = torch.tensor(values, dtype=torch.float32)
        tensors[name] = {"shape": list(x.shape), "data": inputs.exact(x)}
        add(name, x, x.min(), x.max(), "min-max")
        if name == "ties":
            add(name, x, torch.tensor(-2.0), torch.tensor(1.75), "given")
        if name == "spread":
            add(name, x, torch.tensor(-1.1), torch.tensor(2.3), "given")
    x = torch.tensor(channels(), dtype=torch.float32)
    tensors["channels"] = {"shape": list(x.shape), "data": inputs.exact(x.reshape(-1))}
    add("channels", x, x.amin(1, keepdim=True), x.amax(1, keepdim=True), "min-max")
    return tensors, cases


def samples() -> dict[str, np.ndarray]:
    """Values on a grid of 1/4096, so that they are short in JSON."""
    random = np.random.default_rng(20240607)
    grid = lambda a: (np.round(a * 4096) / 4096).astype(np.float32)
    outlier = random.laplace(size=300)
    outlier[17] = 14.0
    return {
        "normal": grid(random.normal(size=256)),
        "relu": grid(np.maximum(random.normal(size=256), 0)),
        "laplace with an outlier": grid(outlier),
        "weights": grid(random.normal(size=(4, 72)) * np.array([[0.1], [0.5], [1.0], [0.02]])),
    }


def mse_range(quantizer, x: torch.Tensor, bits: int, power: float, candidates: int = 80) -> dict:
    low, high = x.min(), x.max()
    scores = []
    for i in range(candidates):
        factor = 1.0 - 0.01 * i
        value = quantizer(x, low * factor, high * factor, bits)[1]
        scores.append(float((x.double() - value.double()).abs().pow(power).mean()))
    best = int(np.argmin(scores))
    runner_up = min(score for i, score in enumerate(scores) if i != best)
    factor = 1.0 - 0.01 * best
    return {
        "index": best,
        "min": inputs.exact([low * factor])[0],
        "max": inputs.exact([high * factor])[0],
        "error": scores[best],
        "min_max_error": scores[0],
        "lead": runner_up / scores[best] - 1 if scores[best] > 0 else 0.0,
    }


def mse_cases(vectors: dict[str, np.ndarray]) -> list[dict]:
    cases = []
    for name, values in vectors.items():
        for quantizer_name, quantizer in QUANTIZERS.items():
            for bits in BITS:
                for power in (2.0, 2.4):
                    rows = torch.from_numpy(values.reshape(values.shape[0] if values.ndim == 2 else 1, -1))
                    found = [mse_range(quantizer, row, bits, power) for row in rows]
                    columns = {key: [one[key] for one in found] for key in found[0]}
                    cases.append({"sample": name, "quantizer": quantizer_name, "bits": bits, "p": power, **columns})
    return cases


def percentile_cases(vectors: dict[str, np.ndarray]) -> list[dict]:
    cases = []
    for name in ("normal", "relu", "laplace with an outlier"):
        values = vectors[name].astype(np.float64)
        for percent in (90.0, 99.0, 99.9, 99.99, 100.0):
            case = {"sample": name, "percentile": percent}
            for method in ("linear", "lower", "higher", "nearest"):
                case[method] = [float(np.percentile(values, q, method=method)) for q in (100 - percent, percent)]
            cases.append(case)
    return cases


def moving_average() -> dict:
    """Three rules that carry the same name, over the same maxima; beta = 0.9."""
    beta, observed = 0.9, [1.0, 1.5, 0.5, 2.0, 2.0, 1.25, 1.0, 1.0]
    plain, debiased, gdfq = [], [], []
    p, d, g = observed[0], 0.0, 0.0
    for t, value in enumerate(observed, start=1):
        p = value if t == 1 else beta * p + (1 - beta) * value
        d = beta * d + (1 - beta) * value
        g = (beta * g + (1 - beta) * value) / (1 - beta**t)
        plain.append(p)
        debiased.append(d / (1 - beta**t))
        gdfq.append(g)
    constant, g = {}, 0.0
    for t in range(1, 801):
        g = (beta * g + (1 - beta)) / (1 - beta**t)
        if t in (1, 2, 21, 50, 100, 150, 800):
            constant[str(t)] = g
    return {
        "beta": beta,
        "observed": observed,
        "plain": {"rule": "r_1 = m_1; r_t = beta r_{t-1} + (1 - beta) m_t", "values": plain},
        "debiased": {"rule": "a_t = beta a_{t-1} + (1 - beta) m_t, a_0 = 0; r_t = a_t / (1 - beta^t)", "values": debiased},
        "gdfq": {
            "rule": "r_t = (beta r_{t-1} + (1 - beta) m_t) / (1 - beta^t), r_0 = 0: GDFQ's, which divides the divided value again",
            "values": gdfq,
            "of_a_constant_1": constant,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tensors, quantize = quantize_cases()
    vectors = samples()
    mse = mse_cases(vectors)
    inputs.write(
        arguments.out,
        {
            "written_by": "scripts/reference/quantizer_reference.py; do not edit",
            "torch": torch.__version__,
            "arithmetic": "f32, one rounding an operation, halves to even; every number is an f32 written as f64",
            "formulas": FORMULAS,
            "tensors": tensors,
            "quantize": quantize,
            "samples": {k: {"shape": list(v.shape), "data": inputs.exact(v.reshape(-1))} for k, v in vectors.items()},
            "mse_rule": "candidate i of 0..79: (min, max) * f32(1 - 0.01 i) in f32; error = mean |x - x^|^p in f64, x^ in f32; the first least "
            "error wins; rows of a two-dimensional sample on their own; lead = second least error / least - 1",
            "mse": mse,
            "percentile_rule": "[percentile 100 - q, percentile q] of the values as f64: numpy.percentile with each method",
            "percentile": percentile_cases(vectors),
            "moving_average": moving_average(),
        },
    )
    print(f"{len(quantize)} quantize cases, {len(mse)} range searches, least lead {min(min(c['lead']) for c in mse):.2g}")


if __name__ == "__main__":
    main()
