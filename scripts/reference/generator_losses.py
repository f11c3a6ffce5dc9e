"""Reference values of the adversarial generators' losses in crates/synth, computed by PyTorch in double precision.

    python scripts/reference/generator_losses.py > crates/synth/tests/data/generator_losses.json

Written with torch 2.11; needs nothing else. Every case gives the unweighted value of each term by its name, the weighted sum and the
sum's gradient with respect to everything that the images reach the loss through.
"""

import json
import math

import torch
import torch.nn.functional as F

torch.manual_seed(20241121)
torch.set_default_dtype(torch.float64)

BATCH, CLASSES = 4, 5
LAYERS = [2, 3]


def rounded(*shape, scale=1.0):
    """Values on a grid of 1/64: exact in single precision, so both sides start from the same numbers."""
    return (torch.randn(*shape) * scale * 64).round() / 64


def variances(count):
    return ((torch.rand(count) * 1.5 + 0.25) * 64).round() / 64


labels = [3, 0, 4, 1]
targets = F.one_hot(torch.tensor(labels), CLASSES).double()
inputs = {
    "teacher": rounded(BATCH, CLASSES, scale=2.0),
    "student": rounded(BATCH, CLASSES, scale=2.0),
    "last_features": rounded(BATCH, 6) + 1 / 128,  # none of them 0, where the absolute value has no slope
    "mean": rounded(sum(LAYERS)),
    "var": variances(sum(LAYERS)),
}
# Outputs of three blocks, the first two of one stage.
shapes = [(BATCH, 2, 3, 3), (BATCH, 2, 3, 3), (BATCH, 3, 2, 2)]
for side in ("teacher", "student"):
    for index, shape in enumerate(shapes):
        inputs[f"{side}_feature_{index}"] = rounded(*shape)
target_mean, target_var = rounded(sum(LAYERS)), variances(sum(LAYERS))


def entropy(logits):
    return -(F.softmax(logits, 1) * F.log_softmax(logits, 1)).sum(1)


def by_layer(values):
    """Mean over the layers of the mean over each layer's channels."""
    return torch.stack([part.mean() for part in values.split(LAYERS)]).mean()


def spatial(f, gamma):
    """f: [n, c, p]; every position gets the mean of all positions, weighted by its similarity to them."""
    return f + gamma * torch.einsum("ncq,npq->ncp", f, torch.einsum("ncp,ncq->npq", f, f).softmax(2))


def channel(f, gamma):
    """f: [n, c, p]; every channel gets the mean of all channels, weighted by its dissimilarity to them."""
    return f + gamma * torch.einsum("nde,nep->ndp", (-torch.einsum("ndp,nep->nde", f, f)).softmax(2), f)


def relation_distance(leaf, gamma):
    total = 0
    for index in (1, 2):
        maps = [F.normalize(leaf[f"{side}_feature_{index}"], dim=1).flatten(2) for side in ("student", "teacher")]
        for transform in (spatial, channel):
            total = total + F.l1_loss(*(transform(f, gamma) for f in maps))
    return total


def zaq(leaf, gamma=0.1):
    return {
        "logit-distance": F.l1_loss(leaf["student"], leaf["teacher"]),
        "relation-distance": relation_distance(leaf, gamma),
        "activation": leaf["last_features"].abs().mean(),
    }


def choi(leaf, epsilon=1e-5):
    probabilities = F.softmax(leaf["teacher"], 1)
    mean = probabilities.mean(0)
    var, wanted = leaf["var"] + epsilon, target_var + epsilon
    spread = (var + (leaf["mean"] - target_mean).square()) / wanted
    return {
        "divergence": F.kl_div(F.log_softmax(leaf["student"], 1), probabilities, reduction="batchmean"),
        "batch-norm": 0.5 * (spread - 1 - (var / wanted).log()).sum(),
        "instance-entropy": entropy(leaf["teacher"]).mean(),
        "batch-entropy": -(mean * mean.log()).sum(),
    }


def adasg(leaf, low=0.3, high=0.8, smallest="batch"):
    disagreement, agreement = leaf["teacher"] - leaf["student"], leaf["teacher"] + leaf["student"]
    h = entropy(disagreement)
    least = h.min() if smallest == "batch" else 0.0
    h = (h - least) / (math.log(CLASSES) - least)
    return {
        "entropy-margin": F.relu(low - h).mean() + F.relu(h - high).mean(),
        "disagreement": F.cross_entropy(disagreement, targets),
        "agreement": F.cross_entropy(agreement, targets),
        "batch-norm": by_layer((leaf["mean"] - target_mean).square()) + by_layer((leaf["var"] - target_var).square()),
    }


def case(method, options, terms, weights):
    leaf = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    values = terms(leaf)
    loss = sum(weight * values[name] for name, weight in weights.items())
    gradients = torch.autograd.grad(loss, list(leaf.values()), allow_unused=True)
    return {
        "method": method,
        "options": options,
        "terms": {name: float(value.detach()) for name, value in values.items()},
        "loss": float(loss.detach()),
        "gradients": {
            name: gradient.flatten().tolist() for name, gradient in zip(leaf, gradients) if gradient is not None
        },
    }


ZAQ = {"logit-distance": -1.0, "relation-distance": -1.0, "activation": -0.1}
CHOI = {"divergence": -1.0, "batch-norm": 1.0, "instance-entropy": 1.0, "batch-entropy": -1.0}
ADASG = {"entropy-margin": 1.0, "disagreement": 0.1, "agreement": 0.1, "batch-norm": 1.0}
cases = [
    case("zaq", "", zaq, ZAQ),
    case(
        "zaq", "relation_gamma = 2.0\nrelation_weight = 3.0\nactivation_weight = 0.5",
        lambda leaf: zaq(leaf, 2.0), ZAQ | {"relation-distance": -3.0, "activation": -0.5},
    ),
    case("choi-akd", "", choi, CHOI),
    case(
        "choi-akd",
        "divergence_weight = 0.5\nbns_weight = 2.0\ninstance_entropy_weight = 3.0\nbatch_entropy_weight = 0.25\nepsilon = 0.25",
        lambda leaf: choi(leaf, 0.25),
        {"divergence": -0.5, "batch-norm": 2.0, "instance-entropy": 3.0, "batch-entropy": -0.25},
    ),
    case("adasg", "", adasg, ADASG),
    case(
        "adasg",
        'lambda_low = 0.6\nlambda_high = 0.7\nsmallest_entropy = "zero"\n'
        "disagreement_weight = 0.2\nlabel_weight = 0.5\nbns_weight = 0.25",
        lambda leaf: adasg(leaf, 0.6, 0.7, "zero"),
        ADASG | {"disagreement": 0.1, "agreement": 0.05, "batch-norm": 0.25},
    ),
]
print(
    json.dumps(
        {
            "written_by": "scripts/reference/generator_losses.py",
            "torch": torch.__version__,
            "labels": labels,
            "layers": LAYERS,
            "target_mean": target_mean.tolist(),
            "target_var": target_var.tolist(),
            "inputs": {
                name: {"shape": list(value.shape), "values": value.flatten().tolist()} for name, value in inputs.items()
            },
            "cases": cases,
        }
    )
)
