"""Reference images of the generator in crates/synth with gradients, computed by PyTorch in double precision.

    python scripts/reference/generator_network.py > crates/synth/tests/data/generator_network.json

Written with torch 2.11; needs nothing else. Every case gives the images of a batch of latent codes, and the gradient of
sum(images * weights) with respect to what is trained. All inputs lie on a grid of 1/64, exact in single precision.
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(20241122)
torch.set_default_dtype(torch.float64)

LATENT, CHANNELS, CLASSES, BATCH = 3, 4, 3, 4
COLOURS, HEIGHT, WIDTH = 2, 8, 4
NORM_EPSILON, OUTER_EPSILON, SLOPE = 0.8, 1e-5, 0.2
INNER = {"norm0": CHANNELS, "norm1": CHANNELS, "norm2": CHANNELS // 2}


def rounded(*shape, scale=1.0):
    return (torch.randn(*shape) * scale * 64).round() / 64


base = {
    "linear.weight": rounded(CHANNELS * (HEIGHT // 4) * (WIDTH // 4), LATENT),
    "linear.bias": rounded(CHANNELS * (HEIGHT // 4) * (WIDTH // 4), scale=0.3),
    "conv1.weight": rounded(CHANNELS, CHANNELS, 3, 3, scale=0.3),
    "conv1.bias": rounded(CHANNELS, scale=0.3),
    "conv2.weight": rounded(CHANNELS // 2, CHANNELS, 3, 3, scale=0.3),
    "conv2.bias": rounded(CHANNELS // 2, scale=0.3),
    "conv3.weight": rounded(COLOURS, CHANNELS // 2, 3, 3, scale=0.4),
    "conv3.bias": rounded(COLOURS, scale=0.3),
    "embedding.weight": rounded(CLASSES, LATENT),
}
for name, width in INNER.items():
    base[f"{name}.weight"] = 1 + rounded(width, scale=0.3)
    base[f"{name}.bias"] = rounded(width, scale=0.3)
    base[f"{name}.classes.weight"] = 1 + rounded(CLASSES, width, scale=0.3)
    base[f"{name}.classes.bias"] = rounded(CLASSES, width, scale=0.3)


def listed(tensor):
    """All values to nine digits: more than single precision holds."""
    return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]


def batch_norm(x, epsilon):
    return F.batch_norm(x, None, None, training=True, eps=epsilon)


def draw(values, code, shares):
    """Images of codes [batch, latent]; `shares` [batch, classes] for class-conditional batch norms, else None."""

    def inner(name, x, epsilon):
        x = batch_norm(x, epsilon)
        if shares is None:
            scale, shift = values[f"{name}.weight"][None], values[f"{name}.bias"][None]
        else:
            scale, shift = shares @ values[f"{name}.classes.weight"], shares @ values[f"{name}.classes.bias"]
        return x * scale[:, :, None, None] + shift[:, :, None, None]

    x = F.linear(code, values["linear.weight"], values["linear.bias"])
    x = inner("norm0", x.view(BATCH, CHANNELS, HEIGHT // 4, WIDTH // 4), OUTER_EPSILON)
    for index in (1, 2):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.conv2d(x, values[f"conv{index}.weight"], values[f"conv{index}.bias"], padding=1)
        x = F.leaky_relu(inner(f"norm{index}", x, NORM_EPSILON), SLOPE)
    x = F.conv2d(x, values["conv3.weight"], values["conv3.bias"], padding=1)
    return batch_norm(torch.tanh(x), OUTER_EPSILON)


def case(name, by_class, embedded, parts):
    values = {key: value.clone().requires_grad_() for key, value in base.items()}
    noise = rounded(BATCH * parts, LATENT)
    labels = torch.randint(0, CLASSES, (BATCH, parts))
    # Shares on a grid of 1/8 that sum to 1.
    cuts = torch.randint(1, 8, (BATCH,)) / 8
    shares = torch.stack([cuts, 1 - cuts], 1) if parts == 2 else torch.ones(BATCH, 1)
    of_classes = (F.one_hot(labels, CLASSES) * shares[:, :, None]).sum(1)
    if parts == 1:
        code = values["embedding.weight"][labels[:, 0]] * noise if embedded else noise
    else:
        codes = batch_norm(values["embedding.weight"][labels.flatten()] + noise, 1e-5)
        code = (codes.view(BATCH, parts, LATENT) * shares[:, :, None]).sum(1)
    images = draw(values, code, of_classes / parts if by_class else None)
    weights = rounded(*images.shape)
    (images * weights).sum().backward()
    return {
        "name": name,
        "by_class": by_class,
        "embedded": embedded,
        "parts": parts,
        "labels": labels.flatten().tolist(),
        "shares": listed(shares),
        "noise": listed(noise),
        "weights": listed(weights),
        "images": listed(images),
        "gradients": {key: listed(value.grad) for key, value in values.items() if value.grad is not None},
    }


print(
    json.dumps(
        {
            "written_by": "scripts/reference/generator_network.py",
            "torch": torch.__version__,
            "latent": LATENT,
            "channels": CHANNELS,
            "classes": CLASSES,
            "batch": BATCH,
            "image": [COLOURS, HEIGHT, WIDTH],
            "parameters": {key: listed(value) for key, value in base.items()},
            "cases": [
                case("gdfq", False, True, 1),
                case("gdfq by batch norm", True, False, 1),
                case("qimera", False, True, 2),
                case("qimera by batch norm", True, True, 2),
            ],
        }
    )
)
