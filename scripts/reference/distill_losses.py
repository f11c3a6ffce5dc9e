"""Reference values of crates/distill, computed by PyTorch in double precision.

    python scripts/reference/distill_losses.py > crates/distill/tests/data/reference.toml

Written with torch 2.11; needs nothing else. Every loss comes with its gradient with respect to the
student's logits or features; every optimizer with the parameter after each of six steps on a quadratic.
"""

import torch
import torch.nn.functional as F

torch.manual_seed(20240607)
torch.set_default_dtype(torch.float64)

BATCH, CLASSES = 4, 5


def rounded(*shape, scale=2.0):
    """Values on a grid of 1/64: exact in single precision, so both sides start from the same numbers."""
    return (torch.randn(*shape) * scale * 64).round() / 64


def flat(tensor):
    return "[" + ", ".join(repr(float(x)) for x in tensor.detach().reshape(-1)) + "]"


def emit_case(section, name, options, value, *leaves):
    print(f"[[{section}]]")
    print(f'name = "{name}"')
    print(f"options = {options}")
    grads = torch.autograd.grad(value, leaves)
    print(f"value = {float(value.detach())!r}")
    print(f"gradient = {flat(torch.cat([g.reshape(-1) for g in grads]))}")
    print()


student = rounded(BATCH, CLASSES).requires_grad_()
teacher = rounded(BATCH, CLASSES)
labels = torch.tensor([3, 0, 4, 1])

# Two nodes, [3, 4, 2, 3] and [3, 2, 3, 3].
student_features = [rounded(3, 4, 2, 3, scale=1.0).requires_grad_(), rounded(3, 2, 3, 3, scale=1.0).requires_grad_()]
teacher_features = [rounded(3, 4, 2, 3, scale=1.0), rounded(3, 2, 3, 3, scale=1.0)]

print("# Written by scripts/reference/distill_losses.py; do not edit.")
print(f'torch = "{torch.__version__}"')
print(f"labels = {labels.tolist()}")
print(f"student = {flat(student)}")
print(f"teacher = {flat(teacher)}")
for side, features in (("student", student_features), ("teacher", teacher_features)):
    for index, feature in enumerate(features):
        print(f"{side}_feature_{index} = {flat(feature)}")
print()


def kl(temperature, reduction, scale):
    loss = F.kl_div(
        F.log_softmax(student / temperature, 1),
        F.softmax(teacher / temperature, 1),
        reduction=reduction,
    )
    return loss * temperature**2 if scale else loss


for temperature, reduction, scale in [
    (1.0, "mean", True),
    (4.0, "mean", True),
    (20.0, "mean", True),
    (4.0, "batchmean", True),
    (20.0, "batchmean", True),
    (4.0, "batchmean", False),
]:
    options = f'{{ temperature = {temperature}, reduction = "{reduction}", scale_by_t2 = {str(scale).lower()} }}'
    emit_case("logit_case", "kl", options, kl(temperature, reduction, scale), student)

for smoothing in (0.0, 0.1):
    emit_case(
        "logit_case", "cross-entropy", f'{{ target = "label", smoothing = {smoothing} }}',
        F.cross_entropy(student, labels, label_smoothing=smoothing), student,
    )
    emit_case(
        "logit_case", "cross-entropy", f'{{ target = "teacher-argmax", smoothing = {smoothing} }}',
        F.cross_entropy(student, teacher.argmax(1), label_smoothing=smoothing), student,
    )
    emit_case(
        "logit_case", "cross-entropy", f'{{ target = "teacher-soft", smoothing = {smoothing} }}',
        F.cross_entropy(student, F.softmax(teacher, 1), label_smoothing=smoothing), student,
    )
emit_case("logit_case", "logit-mse", "{}", F.mse_loss(student, teacher), student)

pairs = list(zip(student_features, teacher_features))
emit_case(
    "feature_case", "feature-mse", "{ relative = false }",
    sum(F.mse_loss(s, t) for s, t in pairs) / len(pairs), *student_features,
)
emit_case(
    "feature_case", "feature-mse", "{ relative = true }",
    sum(F.mse_loss(s, t) / t.square().mean() for s, t in pairs) / len(pairs), *student_features,
)

MAPS = {
    "channel": lambda x, p: F.normalize(x.abs().pow(p).mean([2, 3]).flatten(1)),
    "spatial": lambda x, p: F.normalize(x.abs().pow(p).mean(1).flatten(1)),
}
REDUCTIONS = {
    "mean": lambda d: d.square().mean(),
    "batchmean": lambda d: d.square().sum(1).mean(),
}
for kind, attention in MAPS.items():
    for reduction, reduce in REDUCTIONS.items():
        for power in (2, 3):
            value = sum(reduce(attention(s, power) - attention(t, power)) for s, t in pairs)
            options = f'{{ map = "{kind}", reduction = "{reduction}", power = {power} }}'
            emit_case("feature_case", "attention", options, value, *student_features)

# Optimizers: f(w) = 1/2 sum(a (w - b)^2), the learning rate halved after the third step.
curvature = torch.tensor([0.5, 1.0, 2.0, 0.25])
target = torch.tensor([1.0, -0.5, 0.25, 3.0])
start = torch.tensor([0.0, 1.0, -1.0, 2.0])
print(f"curvature = {flat(curvature)}".replace("curvature", "[quadratic]\ncurvature", 1))
print(f"target = {flat(target)}")
print(f"start = {flat(start)}")
print()


def emit_optimizer(options, rate, build):
    weight = start.clone().requires_grad_()
    optimizer = build([weight], rate)
    print("[[optimizer_case]]")
    print(f"options = {options}")
    print(f"rate = {rate}")
    rows = []
    for step in range(6):
        if step == 3:
            optimizer.param_groups[0]["lr"] = rate / 2
        optimizer.zero_grad()
        (0.5 * (curvature * (weight - target).square()).sum()).backward()
        optimizer.step()
        rows.append(flat(weight))
    print("weights = [" + ", ".join(rows) + "]")
    print()


emit_optimizer(
    '{ kind = "sgd", momentum = 0.9, nesterov = true, weight_decay = 0.01 }', 0.1,
    lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True, weight_decay=0.01),
)
emit_optimizer(
    '{ kind = "sgd", momentum = 0.9, nesterov = false, weight_decay = 0.0 }', 0.1,
    lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
)
emit_optimizer(
    '{ kind = "sgd", momentum = 0.0, nesterov = false, weight_decay = 0.0 }', 0.1,
    lambda p, lr: torch.optim.SGD(p, lr),
)
emit_optimizer(
    '{ kind = "adam", betas = [0.9, 0.999], epsilon = 1e-8, weight_decay = 0.0 }', 0.05,
    lambda p, lr: torch.optim.Adam(p, lr),
)
emit_optimizer(
    '{ kind = "adam", betas = [0.5, 0.99], epsilon = 1e-6, weight_decay = 0.1 }', 0.05,
    lambda p, lr: torch.optim.Adam(p, lr, betas=(0.5, 0.99), eps=1e-6, weight_decay=0.1),
)
