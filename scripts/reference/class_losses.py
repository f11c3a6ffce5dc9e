"""Reference values of what IntraQ, HAST, TexQ and SynQ ask of images of a class, computed by PyTorch in double precision.

    python scripts/reference/class_losses.py

Written with torch 2.11. Every case gives the value of the unweighted term and its gradient with respect to what it is a function of.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

import inputs

OUT = Path(__file__).resolve().parents[2] / "crates/synth/tests/data/class_losses.json"

torch.set_default_dtype(torch.float64)

BATCH, CLASSES, FEATURES = 4, 5, 6
LABELS = [3, 0, 4, 3]
LAYERS = [2, 3]
KERNELS = {"L5": [1, 4, 6, 4, 1], "E5": [-1, -2, 0, 2, 1], "S5": [-1, 0, 2, 0, -1], "R5": [1, -4, 6, -4, 1]}


def on_grid(generator, *shape, scale=1.0):
    """Values on a grid of 1/64: exact in single precision, so both sides start from the same numbers."""
    return (torch.randn(*shape, generator=generator) * scale * 64).round() / 64


def case(value_of, at: torch.Tensor, **facts) -> dict:
    leaf = at.clone().requires_grad_()
    value = value_of(leaf)
    value.backward()
    return {**facts, "value": inputs.rounded(value.item(), 9), "gradient": inputs.rounded(leaf.grad.flatten(), 9)}


def probability(logits):
    return F.softmax(logits, 1)[torch.arange(len(logits)), LABELS]


def soft_inception(logits, targets):
    """IntraQ: mean_b (p_y - t_b)^2."""
    return F.mse_loss(probability(logits), targets)


def margin(features, centres, seen, lower, upper):
    """IntraQ: hinges on the cosine distance to the centre of the class, mean over the images whose class has one."""
    distance = 1 - F.cosine_similarity(features, centres, dim=1, eps=1e-6)
    return ((F.relu(lower - distance) + F.relu(distance - upper)) * seen).sum() / seen.sum()


def hard_sample(logits, gamma):
    """HAST: mean[(1 - p_y)^gamma CE]."""
    return ((1 - probability(logits)) ** gamma * F.cross_entropy(logits, torch.tensor(LABELS), reduction="none")).mean()


def layered(mean, var, goal_mean, goal_var, weights):
    """SynQ, TexQ: rows' mean of (1/K) sum_l w_l (MSE of means + MSE of variances), the MSE over the channels of layer l."""
    parts = [
        (parts[0] - parts[1]).pow(2).mean(1) + (parts[2] - parts[3]).pow(2).mean(1)
        for parts in zip(*(values.split(LAYERS, 1) for values in (mean, goal_mean, var, goal_var)))
    ]
    return (torch.stack(parts, 1) * torch.tensor(weights)).mean()


def texture_energy(images):
    """Laws: mean absolute response of the mean over channels to 16 filters, edges repeated; each kernel over its absolute sum."""
    grey = F.pad(images.mean(1, keepdim=True), (2, 2, 2, 2), mode="replicate")
    kernels = [torch.tensor(kernel, dtype=torch.float64) for kernel in KERNELS.values()]
    kernels = [kernel / kernel.abs().sum() for kernel in kernels]
    filters = torch.stack([torch.outer(rows, columns) for rows in kernels for columns in kernels]).unsqueeze(1)
    return F.conv2d(grey, filters).abs().mean((2, 3))


def texture_distance(images, centres):
    """Mean over images of KL(shares of the centre's energies || shares of the image's), the map L5L5 left out."""
    p, q = (energy[:, 1:] / energy[:, 1:].sum(1, keepdim=True) for energy in (texture_energy(centres), texture_energy(images)))
    return (p * (p / q).log()).sum(1).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(20241121)
    logits = on_grid(generator, BATCH, CLASSES, scale=1.5)
    targets = torch.tensor([1.0, 0.953125, 0.984375, 1.0])
    features, centres = (on_grid(generator, BATCH, FEATURES).abs() for _ in range(2))
    centres[3] = features[3] + torch.tensor([0.5, -0.25, 0.0, 0.25, 0.0, -0.25])
    seen = torch.tensor([1.0, 1.0, 0.0, 1.0])
    mean, goal_mean = on_grid(generator, 2, sum(LAYERS)), on_grid(generator, 2, sum(LAYERS))
    var, goal_var = (on_grid(generator, 2, sum(LAYERS)).abs() for _ in range(2))
    images, examples = on_grid(generator, 2, 3, 6, 7), on_grid(generator, 2, 3, 6, 7)
    margins = [[0.05, 0.2], [0.0, 2.0], [0.3, 0.3]]
    document = {
        "written_by": "scripts/reference/class_losses.py; do not edit",
        "torch": torch.__version__,
        "labels": LABELS,
        "logits": inputs.exact(logits.flatten()),
        "soft_inception": case(lambda x: soft_inception(x, targets), logits, targets=inputs.exact(targets)),
        "hard_sample": [case(lambda x: hard_sample(x, gamma), logits, gamma=gamma) for gamma in (0.0, 0.5, 2.0)],
        "features": inputs.exact(features.flatten()),
        "centres": inputs.exact(centres.flatten()),
        "seen": inputs.exact(seen),
        "margin": [
            case(lambda x: margin(x, centres, seen, lower, upper), features, lower=lower, upper=upper) for lower, upper in margins
        ],
        "layers": LAYERS,
        "mean": inputs.exact(mean.flatten()),
        "var": inputs.exact(var.flatten()),
        "goal_mean": inputs.exact(goal_mean.flatten()),
        "goal_var": inputs.exact(goal_var.flatten()),
        "layered": case(lambda x: layered(x, var, goal_mean, goal_var, [0.2, 1.1]), mean, weights=[0.2, 1.1]),
        "images": inputs.exact(images.flatten()),
        "class_images": inputs.exact(examples.flatten()),
        "image_shape": list(images.shape),
        "texture_energy": inputs.rounded(texture_energy(images).flatten(), 9),
        "texture_distance": case(lambda x: texture_distance(x, examples), images),
    }
    inputs.write(arguments.out, document)


if __name__ == "__main__":
    main()
