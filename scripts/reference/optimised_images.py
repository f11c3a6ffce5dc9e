"""Reference values of the priors and moves of optimised images in crates/synth, computed by PyTorch in double precision.

    python scripts/reference/optimised_images.py > crates/synth/tests/data/optimised_images.json

Written with torch 2.11; needs nothing else.
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(20241122)
torch.set_default_dtype(torch.float64)


def rounded(*shape, scale=1.0):
    """Values on a grid of 1/64: exact in single precision, so both sides start from the same numbers."""
    return (torch.randn(*shape) * scale * 64).round() / 64


def numbers(tensor):
    return [round(value, 10) for value in tensor.detach().flatten().tolist()]


def blur(x, kernel, sigma):
    place = torch.arange(kernel) - kernel // 2
    bell = torch.exp(-0.5 * (place / sigma) ** 2)
    bell = bell / bell.sum()
    channels = x.shape[1]
    window = torch.outer(bell, bell).expand(channels, 1, kernel, kernel)
    return F.conv2d(F.pad(x, [kernel // 2] * 4, mode="reflect"), window, groups=channels)


def neighbours(x):
    return [
        x[:, :, :, :-1] - x[:, :, :, 1:],
        x[:, :, :-1, :] - x[:, :, 1:, :],
        x[:, :, 1:, :-1] - x[:, :, :-1, 1:],
        x[:, :, :-1, :-1] - x[:, :, 1:, 1:],
    ]


def jensen_shannon(t, s, temperature, floor):
    p, q = (F.softmax(logits / temperature, 1).clamp(floor, 1 - floor) for logits in (t, s))
    m = (p + q) / 2
    return 0.5 * ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / len(p)


images = rounded(2, 3, 6, 5)
logits, other = rounded(4, 5, scale=3.0), rounded(4, 5, scale=3.0)
labels = [3, 0, 4, 1]
targets = torch.softmax(rounded(4, 5), 1)
boxes, size = [[1, 0, 4, 3], [0, 2, 6, 2]], [5, 7]


def value_and_gradient(function, *leaves):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = function(*leaves)
    value.backward()
    return {"value": value.item(), "gradient": [g for leaf in leaves for g in numbers(leaf.grad)]}


crops = [
    F.interpolate(x[None, :, top : top + height, left : left + width], size, mode="bilinear", align_corners=False)
    for x, (top, left, height, width) in zip(images, boxes)
]
print(
    json.dumps(
        {
            "written_by": "scripts/reference/optimised_images.py; do not edit",
            "torch": torch.__version__,
            "shape": list(images.shape),
            "images": numbers(images),
            "logits": numbers(logits),
            "other": numbers(other),
            "labels": labels,
            "targets": numbers(targets),
            "total_variation_l2": value_and_gradient(lambda x: sum(d.norm() for d in neighbours(x)), images),
            "total_variation_l1": value_and_gradient(lambda x: sum(d.abs().mean() for d in neighbours(x)), images),
            "image_norm": value_and_gradient(lambda x: x.flatten(1).norm(dim=1).mean(), images),
            "smoothness": value_and_gradient(lambda x: F.mse_loss(x, blur(x, 3, 1.0)), images),
            "cross_entropy": value_and_gradient(lambda z: F.cross_entropy(z, torch.tensor(labels)), logits),
            "soft_cross_entropy": value_and_gradient(lambda z: F.cross_entropy(z, targets), logits),
            "jensen_shannon": value_and_gradient(lambda t, s: jensen_shannon(t, s, 3.0, 0.05), logits, other),
            "gaussian_blur": {"kernel": 5, "sigma": 1.25, "values": numbers(blur(images, 5, 1.25))},
            "resized_crop": {"boxes": boxes, "size": size, "values": numbers(torch.cat(crops))},
        },
        separators=(",", ":"),
    ).replace(',"', ',\n"')
)
