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
# Superposed labels, in eighths.
soft_labels = torch.tensor([
    [0.0, 0.25, 0.0, 0.75, 0.0],
    [0.5, 0.0, 0.375, 0.0, 0.125],
    [0.125, 0.25, 0.125, 0.125, 0.375],
    [0.0, 1.0, 0.0, 0.0, 0.0],
])

# Two nodes, [3, 4, 2, 3] and [3, 2, 3, 3].
student_features = [rounded(3, 4, 2, 3, scale=1.0).requires_grad_(), rounded(3, 2, 3, 3, scale=1.0).requires_grad_()]
teacher_features = [rounded(3, 4, 2, 3, scale=1.0), rounded(3, 2, 3, 3, scale=1.0)]

print("# Written by scripts/reference/distill_losses.py; do not edit.")
print(f'torch = "{torch.__version__}"')
print(f"labels = {labels.tolist()}")
print(f"soft_labels = {flat(soft_labels)}")
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

# Targets of the cross-entropies as distributions.
TARGETS = {
    "label": F.one_hot(labels, CLASSES).double(),
    "soft-label": soft_labels,
    "teacher-argmax": F.one_hot(teacher.argmax(1), CLASSES).double(),
    "teacher-soft": F.softmax(teacher, 1),
}
emit_case(
    "logit_case", "cross-entropy", '{ target = "soft-label", smoothing = 0.1 }',
    F.cross_entropy(student, soft_labels, label_smoothing=0.1), student,
)


def js(temperature, clamp, scale):
    p, q = (F.softmax(x / temperature, 1).clamp(clamp, 1 - clamp) for x in (teacher, student))
    log_m = ((p + q) / 2).log()
    value = (F.kl_div(log_m, p, reduction="batchmean") + F.kl_div(log_m, q, reduction="batchmean")) / 2
    return value * temperature**2 if scale else value


for temperature, clamp, scale in [(1.0, 0.0, True), (3.0, 0.0, True), (3.0, 0.01, False), (1.0, 0.1, False)]:
    options = f"{{ temperature = {temperature}, clamp = {clamp}, scale_by_t2 = {str(scale).lower()} }}"
    emit_case("logit_case", "js", options, js(temperature, clamp, scale), student)


def focal(target, gamma, judge, detach):
    y = TARGETS[target]
    judged = {"student": student, "teacher": teacher}[judge]
    weight = (1 - (y * F.softmax(judged, 1)).sum(1)) ** gamma
    weight = weight.detach() if detach else weight
    return (weight * F.cross_entropy(student, y, reduction="none")).mean()


for target, gamma, judge, detach in [
    ("label", 2.0, "student", False),
    ("label", 0.5, "student", False),
    ("teacher-argmax", 2.0, "teacher", False),
    ("soft-label", 1.0, "student", False),
    ("label", 0.0, "student", False),
    ("label", 2.0, "student", True),
]:
    options = f'{{ target = "{target}", gamma = {gamma}, judge = "{judge}", detach = {str(detach).lower()} }}'
    emit_case("logit_case", "focal", options, focal(target, gamma, judge, detach), student)


def masked_cross_entropy(target, threshold, mask):
    y = TARGETS[target]
    kept = 1 - (y * F.softmax(teacher, 1)).sum(1) < threshold
    assert kept.any() and not kept.all(), "the case should keep some images and leave some out"
    if mask == "rows":
        return F.cross_entropy(student[kept], y[kept])
    return F.cross_entropy(student * kept[:, None], y)


for mask in ("rows", "logits"):
    for target, threshold in [("teacher-argmax", 0.5), ("label", 0.9), ("soft-label", 0.8)]:
        options = f'{{ target = "{target}", threshold = {threshold}, mask = "{mask}" }}'
        emit_case("logit_case", "masked-cross-entropy", options, masked_cross_entropy(target, threshold, mask), student)


def entropies(logits, temperature):
    return torch.distributions.Categorical(logits=logits / temperature).entropy()


def entropy_of_mean(logits, temperature):
    return torch.distributions.Categorical(probs=F.softmax(logits / temperature, 1).mean(0)).entropy()


# The teacher's entropy has a gradient of 0: torch needs the student in its graph to say so.
LOGITS = {"student": student, "teacher": teacher + 0 * student, "difference": teacher - student}
for of, over, sense, temperature in [
    ("student", "image", "minimise", 1.0),
    ("student", "batch", "maximise", 2.0),
    ("teacher", "image", "minimise", 1.0),
    ("difference", "image", "maximise", 4.0),
    ("difference", "batch", "minimise", 1.0),
]:
    measure = {"image": lambda z, t: entropies(z, t).mean(), "batch": entropy_of_mean}[over]
    sign = {"minimise": 1, "maximise": -1}[sense]
    options = f'{{ of = "{of}", over = "{over}", sense = "{sense}", temperature = {temperature} }}'
    emit_case("logit_case", "entropy", options, sign * measure(LOGITS[of], temperature), student)


def entropy_difference(temperature, scale, normalise):
    entropy = entropies(teacher - student, temperature)
    most = torch.tensor(float(CLASSES)).log()
    if normalise == "classes":
        entropy = entropy / most
    if normalise == "batch":
        entropy = (entropy - entropy.min()) / (most - entropy.min())
    return -(temperature**2 if scale else 1) * entropy.mean()


for temperature, scale, normalise in [
    (20.0, True, "none"), (1.0, True, "none"), (4.0, False, "classes"), (4.0, True, "batch"),
]:
    options = f'{{ temperature = {temperature}, scale_by_t2 = {str(scale).lower()}, normalise = "{normalise}" }}'
    emit_case("logit_case", "entropy-difference", options, entropy_difference(temperature, scale, normalise), student)

for temperature in (1.0, 3.0):
    value = entropies(student, temperature).mean() - entropy_of_mean(student, temperature)
    emit_case("logit_case", "mutual-information", f"{{ temperature = {temperature} }}", value, student)

emit_case("logit_case", "logit-l1", "{}", F.l1_loss(student, teacher), student)

RANGES = {"negative": lambda r: -r, "inverse": lambda r: 1 / (r + 0.25), "regularised": lambda r: 0.1 * r**2 - r}
for form, cost in RANGES.items():
    options = f'{{ form = "{form}", epsilon = 0.25, regularisation = 0.1 }}'
    emit_case("logit_case", "logit-range", options, cost(student.amax(1) - student.amin(1)).mean(), student)

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

for relative in (False, True):
    value = sum(F.l1_loss(s, t) / (t.abs().mean() if relative else 1) for s, t in pairs) / len(pairs)
    options = f"{{ relative = {str(relative).lower()} }}"
    emit_case("feature_case", "feature-l1", options, value, *student_features)


def activation_kl(s, t, direction, epsilon):
    def fit(x):
        rows = x.transpose(0, 1).flatten(1)
        return torch.distributions.Normal(rows.mean(1), (rows.var(1, correction=0) + epsilon).sqrt())

    there = torch.distributions.kl_divergence(fit(s), fit(t)).mean()
    back = torch.distributions.kl_divergence(fit(t), fit(s)).mean()
    return {"student-teacher": there, "teacher-student": back, "symmetric": (there + back) / 2}[direction]


for direction, epsilon in [("student-teacher", 1e-5), ("teacher-student", 0.25), ("symmetric", 1e-5)]:
    value = sum(activation_kl(s, t, direction, epsilon) for s, t in pairs) / len(pairs)
    options = f'{{ direction = "{direction}", epsilon = {epsilon} }}'
    emit_case("feature_case", "activation-kl", options, value, *student_features)


def mmd(s, t, bandwidths, unit):
    s, t = s.mean([2, 3]), t.mean([2, 3])
    scale = torch.pdist(t).median() if unit == "median" else torch.tensor(1.0)

    def kernel(x, y):
        squared = (x[:, None] - y[None]).square().sum(2)
        return sum((-squared / (2 * (b * scale) ** 2)).exp() for b in bandwidths).mean() / len(bandwidths)

    return kernel(s, s) + kernel(t, t) - 2 * kernel(s, t)


for bandwidths, unit in [([0.25, 0.5, 1.0, 2.0, 4.0], "median"), ([0.5], "feature"), ([1.0, 3.0], "feature")]:
    value = sum(mmd(s, t, bandwidths, unit) for s, t in pairs) / len(pairs)
    options = f'{{ bandwidths = {bandwidths}, unit = "{unit}" }}'
    emit_case("feature_case", "mmd", options, value, *student_features)


def info_nce(s, t, temperature, symmetric):
    similarities = F.normalize(s.mean([2, 3])) @ F.normalize(t.mean([2, 3])).T / temperature
    same = torch.arange(len(s))
    value = F.cross_entropy(similarities, same)
    return (value + F.cross_entropy(similarities.T, same)) / 2 if symmetric else value


for temperature, symmetric in [(0.07, False), (1.0, False), (0.5, True)]:
    value = sum(info_nce(s, t, temperature, symmetric) for s, t in pairs) / len(pairs)
    options = f"{{ temperature = {temperature}, symmetric = {str(symmetric).lower()} }}"
    emit_case("feature_case", "info-nce", options, value, *student_features)


def relations(x, gamma):
    f = F.normalize(x.flatten(2), dim=1)
    spatial = F.scaled_dot_product_attention(f.mT, f.mT, f.mT, scale=1.0).mT
    channel = F.scaled_dot_product_attention(-f, f, f, scale=1.0)
    return f + gamma * spatial, f + gamma * channel


for gamma in (0.1, 1.0):
    value = sum(
        F.l1_loss(ours, theirs)
        for s, t in pairs
        for ours, theirs in zip(relations(s, gamma), relations(t, gamma))
    )
    emit_case("feature_case", "scrm", f"{{ gamma = {gamma} }}", value, *student_features)

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
