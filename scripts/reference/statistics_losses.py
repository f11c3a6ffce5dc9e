"""Reference values of the batch-norm statistics losses, of DSG's excess and of MCT's distance, by PyTorch in double precision.

    python scripts/reference/statistics_losses.py

Written with torch 2.11. No network is needed: two layers' activations stand side by side in one small array, with running statistics
drawn beside it. Every case gives the value and its gradient with respect to the activations.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.distributions import Normal, kl_divergence

import batch_norm_losses
import inputs
from class_losses import case, on_grid

OUT = Path(__file__).resolve().parents[2] / "crates/synth/tests/data/statistics_losses.json"

torch.set_default_dtype(torch.float64)

LAYERS = [2, 3]
SHAPE = (3, sum(LAYERS), 4, 3)


def by_layer(values: torch.Tensor, axis: int) -> tuple:
    return values.split(LAYERS, axis)


def stats_of(x, mean, var):
    return SimpleNamespace(inputs=by_layer(x, 1), means=by_layer(mean, 0), variances=by_layer(var, 0))


def gaussian_kl(stats, eps: float = 1e-5):
    """The Knowledge Within: KL( N(mu, var + eps) || N(m, v + eps) ), summed over channels and layers; biased variance of the batch."""
    total = 0.0
    for y, m, v in zip(stats.inputs, stats.means, stats.variances):
        ours = Normal(y.mean((0, 2, 3)), (y.var((0, 2, 3), unbiased=False) + eps).sqrt())
        total = total + kl_divergence(ours, Normal(m, (v + eps).sqrt())).sum()
    return total


def excess(stats, slack_mean, slack_std, enhancement, first: int, eps: float = 1e-6):
    """DSG: squares beyond the slack, image by image, the layer `(first + n) mod K` of image n once more by `enhancement`; mean over images."""
    total = 0.0
    for n in range(len(stats.inputs[0])):
        for layer, (y, m, v) in enumerate(zip(stats.inputs, stats.means, stats.variances)):
            mean = y[n].mean((1, 2))
            std = (y[n].flatten(1).var(1, unbiased=True) + eps).sqrt()
            beyond_mean = ((mean - m).abs() - slack_mean[layer]).clamp(min=0)
            beyond_std = ((std - (v + eps).sqrt()).abs() - slack_std[layer]).clamp(min=0)
            weight = 1 + enhancement if (first + n) % len(LAYERS) == layer else 1
            total = total + weight * ((beyond_mean**2).sum() + (beyond_std**2).sum())
    return total / len(stats.inputs[0])


def mct(stats, first_weight: float, per_image: bool, eps: float = 1e-6):
    """MCT: mean over channels of both squares, mean over layers with the first weighted, mean over images where each stands for itself."""
    axes = (2, 3) if per_image else (0, 2, 3)
    total = 0.0
    for layer, (y, m, v) in enumerate(zip(stats.inputs, stats.means, stats.variances)):
        mean, std = y.mean(axes), (y.var(axes, unbiased=False) + eps).sqrt()
        squares = (mean - m) ** 2 + (std - (v + eps).sqrt()) ** 2
        total = total + (first_weight if layer == 0 else 1) * squares.mean()
    return total / len(LAYERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(20261121)
    x = on_grid(generator, *SHAPE, scale=1.5)
    mean, var = on_grid(generator, sum(LAYERS), scale=0.5), on_grid(generator, sum(LAYERS)).abs() + 0.5
    slack_mean, slack_std = [0.125, 0.25], [0.0625, 0.1875]

    def of(loss):
        return lambda y: loss(stats_of(y, mean, var))

    def all_terms(terms):
        return sum(sum(part) for part in terms[:2])

    def first_weighted(stats, weight):
        norms, spreads = batch_norm_losses.unsquared_norms(stats)
        return sum((weight if layer == 0 else 1) * (a + b) for layer, (a, b) in enumerate(zip(norms, spreads)))

    document = {
        "written_by": "scripts/reference/statistics_losses.py; do not edit",
        "torch": torch.__version__,
        "shape": list(SHAPE),
        "layers": LAYERS,
        "activations": inputs.exact(x.flatten()),
        "mean": inputs.exact(mean),
        "var": inputs.exact(var),
        "mean-std-per-image": case(of(lambda s: all_terms(batch_norm_losses.zeroq(s, x))), x),
        "mean-std-per-channel": case(of(lambda s: all_terms(batch_norm_losses.mean_std_per_channel(s, x))), x),
        "mean-var-mse": case(of(lambda s: all_terms(batch_norm_losses.mean_variance_mse(s)) / len(LAYERS)), x),
        "norm": case(of(lambda s: first_weighted(s, 10.0)), x),
        "gaussian-kl": case(of(gaussian_kl), x),
        "input mean-std-per-image": case(lambda y: sum(batch_norm_losses.zeroq(stats_of(y, mean, var), y)[2:]), x),
        "input mean-std-per-channel": case(lambda y: sum(batch_norm_losses.mean_std_per_channel(stats_of(y, mean, var), y)[2:]), x),
        "slack_mean": slack_mean,
        "slack_std": slack_std,
        "excess": [
            case(of(lambda s: excess(s, slack_mean, slack_std, enhancement, first)), x, enhancement=enhancement, first=first)
            for enhancement, first in ((0.0, 0), (1.0, 0), (0.5, 3))
        ],
        "mct": [
            case(of(lambda s: mct(s, weight, per_image)), x, first_weight=weight, per_image=per_image)
            for weight, per_image in ((1.0, True), (3.0, True), (3.0, False))
        ],
    }
    inputs.write(arguments.out, document)


if __name__ == "__main__":
    main()
