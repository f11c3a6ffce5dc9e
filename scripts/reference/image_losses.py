"""Losses of crates/distill that look at the images, on a small network: crates/distill/tests/data/image_losses.json.

    python image_losses.py

Both networks are convolution 3 -> 4 (3x3, padding 1), ReLU, average pooling 4x4, linear 16 -> 5, on images 3x8x8. Values and gradients
(with respect to all parameters of the student, in the order of SHAPES) are in double precision. What the losses draw at random is
written into each case. Grad-CAM's weights come from automatic differentiation here, and from the linear layer's weights in the crate.
"""

from pathlib import Path

import torch
import torch.nn.functional as F

import inputs

OUT = Path(__file__).resolve().parents[2] / "crates" / "distill" / "tests" / "data" / "image_losses.json"
SHAPES = [(4, 3, 3, 3), (4,), (5, 16), (5,)]
SIDE = 8

torch.manual_seed(26)


def grid(*shape, scale=1.0):
    """Values on a grid of 1/64: exact in single precision, so both sides start from the same numbers."""
    return (torch.randn(*shape, dtype=torch.float64) * scale * 64).round() / 64


def parameters():
    return [grid(*shape, scale=scale) for shape, scale in zip(SHAPES, (0.35, 0.2, 0.6, 0.3))]


def run(network, images):
    """Logits, and the map after the ReLU: the output of the last block."""
    conv_weight, conv_bias, linear_weight, linear_bias = network
    feature = F.relu(F.conv2d(images, conv_weight, conv_bias, padding=1))
    return F.linear(F.avg_pool2d(feature, 4).flatten(1), linear_weight, linear_bias), feature


def kl(student, teacher, temperature):
    target, answer = F.log_softmax(teacher / temperature, 1), F.log_softmax(student / temperature, 1)
    return temperature**2 * F.kl_div(answer, target, reduction="batchmean", log_target=True)


def pooled(feature):
    return F.normalize(feature.mean((2, 3)), dim=1)


def rotation_prediction(student, teacher, images, _labels, temperature):
    views = [torch.rot90(images, k, (2, 3)) for k in range(4)]
    ours = torch.stack([pooled(run(student, view)[1]) for view in views], 1)
    theirs = torch.stack([pooled(run(teacher, view)[1]) for view in views], 1)
    logits = torch.einsum("nrd,nkd->nrk", ours, theirs) / temperature
    return F.cross_entropy(logits.reshape(-1, 4), torch.arange(4).repeat(len(images)))


def rotation_consistency(student, teacher, images, _labels, turns, temperature):
    views = torch.stack([torch.rot90(image, k, (1, 2)) for image, k in zip(images, turns)])
    return kl(run(student, views)[0], run(teacher, views)[0], temperature)


def masked(images, patches, side):
    """Patches are numbered by rows of ceil(width / side); those at the right and lower edge are cut."""
    images, columns = images.clone(), -(-SIDE // side)
    for image, places in zip(images, patches):
        for place in places:
            top, left = place // columns * side, place % columns * side
            image[:, top : top + side, left : left + side] = 0
    return images


def masked_features(student, teacher, images, _labels, patches, side, floor):
    ours, theirs = run(student, masked(images, patches, side))[1], run(teacher, images)[1]
    variance = theirs.var((0, 2, 3), unbiased=False)
    scale = torch.maximum(variance, floor * variance.mean())
    return ((ours - theirs).square() / scale[:, None, None]).mean()


def masked_logits(student, teacher, images, _labels, patches, side, temperature):
    return kl(run(student, masked(images, patches, side))[0], run(teacher, images)[0], temperature)


def moved(images, moves):
    result = torch.zeros_like(images)
    for source, target, (down, right, flip) in zip(images, result, moves):
        rows = [(i, i - down) for i in range(SIDE) if 0 <= i - down < SIDE]
        columns = [(j, j - right) for j in range(SIDE) if 0 <= j - right < SIDE]
        for i, from_row in rows:
            for j, from_column in columns:
                target[:, i, SIDE - 1 - j if flip else j] = source[:, from_row, from_column]
    return result


def contrastive(student, teacher, images, _labels, student_moves, teacher_moves, temperature, symmetric):
    ours = pooled(run(student, moved(images, student_moves))[1])
    theirs = pooled(run(teacher, moved(images, teacher_moves))[1])
    logits, target = ours @ theirs.T / temperature, torch.arange(len(images))
    loss = F.cross_entropy(logits, target)
    return (loss + F.cross_entropy(logits.T, target)) / 2 if symmetric else loss


def cam(network, images, classes, normalize):
    logits, feature = run(network, images)
    chosen = logits.gather(1, classes[:, None]).sum()
    (slope,) = torch.autograd.grad(chosen, feature, create_graph=True)
    result = F.relu((slope.mean((2, 3), keepdim=True) * feature).sum(1)).flatten(1)
    if normalize == "l2":
        return F.normalize(result, dim=1)
    return result / result.amax(1, keepdim=True).clamp_min(1e-12) if normalize == "max" else result


def grad_cam(student, teacher, images, labels, target, normalize):
    classes = labels if target == "label" else run(teacher, images)[0].argmax(1)
    frozen = [parameter.clone().requires_grad_() for parameter in teacher]
    return F.mse_loss(cam(student, images, classes, normalize), cam(frozen, images, classes, normalize).detach())


TURNS = [1, 3, 0, 2]
PATCHES = [[0, 4], [8, 5], [2, 6], [1, 7]]
MOVES = [[1, -2, False], [0, 2, True], [-1, 0, False], [2, 1, True]], [[0, 0, True], [-2, 1, False], [1, 1, True], [0, -1, False]]


def cases():
    for temperature in (0.1, 0.5):
        yield "rotation", {"mode": "prediction", "temperature": temperature}, {}, rotation_prediction, [temperature]
    yield "rotation", {"mode": "consistency", "logit_temperature": 4.0}, {"turns": TURNS}, rotation_consistency, [TURNS, 4.0]
    for floor in (0.01, 1.5):
        options = {"target": "features", "patch": 3, "share": 0.25, "floor": floor}
        yield "masked-patch", options, {"masked": PATCHES}, masked_features, [PATCHES, 3, floor]
    options = {"target": "logits", "patch": 3, "share": 0.25, "temperature": 2.0}
    yield "masked-patch", options, {"masked": PATCHES}, masked_logits, [PATCHES, 3, 2.0]
    for symmetric in (True, False):
        options = {"temperature": 0.2, "shift": 2, "flip": True, "symmetric": symmetric}
        draws = {"student_moves": MOVES[0], "teacher_moves": MOVES[1]}
        yield "contrastive", options, draws, contrastive, [*MOVES, 0.2, symmetric]
    for target in ("teacher-argmax", "label"):
        for normalize in ("l2", "max", "none"):
            yield "grad-cam", {"target": target, "normalise": normalize}, {}, grad_cam, [target, normalize]


def in_single_precision(function, student, teacher, images, labels, options, gradient):
    """The value, and a difference quotient along the gradient's signs over its slope."""
    single = [[x.float() for x in network] for network in (student, teacher)]

    def value(step):
        ours, place = [], 0
        for parameter in single[0]:
            signs = gradient[place : place + parameter.numel()].sign().reshape(parameter.shape).float()
            ours.append((parameter + step * signs).requires_grad_())
            place += parameter.numel()
        return function(ours, single[1], images.float(), labels, *options).item()

    step = 1e-3
    return value(0), (value(step) - value(-step)) / (2 * step) / gradient.abs().sum().item()


def main():
    images, labels = grid(4, 3, SIDE, SIDE), torch.tensor([3, 0, 4, 1])
    teacher = parameters()
    student = [parameter + grid(*parameter.shape, scale=0.1) for parameter in teacher]
    results = []
    for name, options, draws, function, arguments in cases():
        leaves = [parameter.clone().requires_grad_() for parameter in student]
        value = function(leaves, teacher, images, labels, *arguments)
        parts = torch.autograd.grad(value, leaves, allow_unused=True)
        gradient = torch.cat([torch.zeros(leaf.numel(), dtype=leaf.dtype) if part is None else part.flatten() for part, leaf in zip(parts, leaves)])
        single, quotient = in_single_precision(function, student, teacher, images, labels, arguments, gradient)
        print(f"{name} {options}: {value.item():.6g} (f32 off by {abs(single - value.item()):.1g}), slope {gradient.abs().sum():.3g}, quotient {quotient:.5f}")
        case = {"name": name, "options": options, **draws, "value": inputs.rounded(value.item(), 12), "gradient": inputs.rounded(gradient, 9)}
        results.append(case)
    document = {
        "torch": torch.__version__,
        "images": inputs.exact(images.flatten()),
        "labels": labels.tolist(),
        "student": inputs.exact(torch.cat([p.flatten() for p in student])),
        "teacher": inputs.exact(torch.cat([p.flatten() for p in teacher])),
        "cases": results,
    }
    inputs.write(OUT, document)


if __name__ == "__main__":
    main()
