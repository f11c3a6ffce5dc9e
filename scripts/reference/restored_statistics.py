#!/usr/bin/env python3
"""What restoring means and deviations of layers' outputs does to 2-bit weights, computed apart from Blindfold.

    python3 scripts/reference/restored_statistics.py DATA

DATA is a data folder with CIFAR-10's test set, `train_subset.bin` and the teacher resnet20-cifar10 (`blindfold data where`). Weights of
ResNet-20 to 2 bits by output channel (asymmetric, the MSE range search with p = 2.4 and 80 candidates), activations in floating
point. Layer after layer, on 512 training images, the batch norm behind each convolution is given the mean, the variance or both
of what the quantized convolution puts out, so that its own output has those of the teacher. Prints the top-1 on the first 2,000
test images. Nothing is read back by a test: experiments/ptq-cifar10/README.md quotes it. Needs torch and numpy.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def images(path, count):
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, 3073)[:count]
    pixels = torch.tensor(records[:, 1:].reshape(-1, 3, 32, 32)).float() / 255
    return (pixels - MEAN) / STD, torch.tensor(records[:, 0]).long()


def quantized(weight, bits=2):
    rows = weight.reshape(weight.shape[0], -1)
    result = torch.empty_like(rows)
    half = 2 ** (bits - 1)
    for channel, row in enumerate(rows):
        least = float("inf")
        for index in range(80):
            low, high = (1 - 0.01 * index) * row.min(), (1 - 0.01 * index) * row.max()
            scale = (2**bits - 1) / max(high - low, 1e-8)
            zero = torch.round(scale * low) + half
            values = (torch.clamp(torch.round(scale * row - zero), -half, half - 1) + zero) / scale
            error = ((values - row).abs() ** 2.4).sum()
            if error < least:
                least, result[channel] = error, values
    return result.reshape(weight.shape)


def run(parameters, x, after):
    """The logits; `after(convolution, batch norm, output)` sees what each convolution puts out."""

    def layer(conv, norm, x, stride):
        y = F.conv2d(x, parameters[conv + ".weight"], None, stride, 1)
        after(conv, norm, y)
        state = [parameters[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(y, *state, False, 0, 1e-5)

    x = F.relu(layer("conv1", "bn1", x, 1))
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            name = f"layer{stage}.{block}."
            stride = 2 if block == 0 and stage > 1 else 1
            y = F.relu(layer(name + "conv1", name + "bn1", x, stride))
            y = layer(name + "conv2", name + "bn2", y, 1)
            if stride == 2:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, width // 4, width // 4))
            x = F.relu(y + x)
    return F.linear(x.mean((2, 3)), parameters["linear.weight"], parameters["linear.bias"])


def main(folder):
    folder = Path(folder)
    state = torch.load(folder / "teachers/resnet20-12fca82f.th", map_location="cpu", weights_only=False)["state_dict"]
    teacher = {name.removeprefix("module."): value for name, value in state.items()}
    student = {name: quantized(value) if value.dim() > 1 else value for name, value in teacher.items()}
    test, labels = images(folder / "cifar-10-batches-bin/test_batch.bin", 2000)
    seen, _ = images(folder / "cifar-10-batches-bin/train_subset.bin", 512)

    def top1(parameters):
        answers = run(parameters, test, lambda *_: None).argmax(1)
        return 100 * (answers == labels).float().mean().item()

    def moments(y):
        return y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)

    print(f"float {top1(teacher):.1f}, nearest {top1(student):.1f}")
    wanted = {}
    run(teacher, seen, lambda conv, _, y: wanted.update({conv: moments(y)}))
    for what in ("means", "deviations", "both"):
        parameters = dict(student)

        def restore(conv, norm, y):
            (mean, variance), (mean_t, variance_t) = moments(y), wanted[conv]
            if what != "deviations":
                parameters[norm + ".running_mean"] = parameters[norm + ".running_mean"] + mean - mean_t
            if what != "means":
                ratio = variance / variance_t.clamp(min=1e-12)
                parameters[norm + ".running_var"] = parameters[norm + ".running_var"] * ratio

        run(parameters, seen, restore)
        print(f"{what} restored {top1(parameters):.1f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with torch.no_grad():
        main(sys.argv[1])
