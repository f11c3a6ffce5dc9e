"""Batch-norm-statistics losses, their gradients and ZeroQ's first Adam steps: crates/synth/tests/data/zeroq.json.

    python zeroq_reference.py [--data FOLDER]

The truth is in double precision; the same in single precision stands beside it where it matters. Adam's first step is
lr * sign(gradient), so steps amplify what a nearly vanishing gradient component's sign is: judge a tolerance by the difference of
`loss` and `loss_f32` at each step.
"""

import argparse
from pathlib import Path

import torch

import batch_norm_losses as losses
import inputs
from networks import TEACHERS, default_data

OUT = Path(__file__).resolve().parents[2] / "crates" / "synth" / "tests" / "data" / "zeroq.json"
TEACHER = "resnet20-12fca82f"
BATCH, VARIANT_BATCH = 4, 8
STEPS = (0, 1, 2, 5, 10)


def frozen(data: Path, dtype: torch.dtype) -> torch.nn.Module:
    network = TEACHERS[TEACHER].load(data).to(dtype)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def zeroq_loss(network, stats, x):
    stats.run(network, x)
    means, deviations, input_mean, input_std = losses.zeroq(stats, x)
    return sum(means) + sum(deviations) + input_mean + input_std, (means, deviations, input_mean, input_std)


def norms(gradient: torch.Tensor) -> list[float]:
    return gradient.flatten(1).norm(dim=1).tolist()


def numbers(terms) -> list[float]:
    return inputs.rounded([term.item() for term in terms], 9)


def at_init(data: Path) -> dict:
    results = {}
    for dtype in (torch.float64, torch.float32):
        network = frozen(data, dtype)
        stats = losses.BatchNormInputs(network)
        x = torch.from_numpy(inputs.zeroq_init(BATCH)).to(dtype).requires_grad_()
        loss, terms = zeroq_loss(network, stats, x)
        (gradient,) = torch.autograd.grad(loss, x)
        results[dtype] = (loss.item(), terms, gradient, stats.names)
    loss, (means, deviations, input_mean, input_std), gradient, names = results[torch.float64]
    loss32, _, gradient32, _ = results[torch.float32]
    difference = inputs.relative(gradient32.numpy(), gradient.numpy())
    print(f"ZeroQ at init: loss {loss:.9g} (f32 {loss32:.9g}), |gradient| {gradient.norm().item():.6g}, f32 gradient differs by {difference:.2g}")
    return {
        "input_shape": [BATCH, 3, 32, 32],
        "input": inputs.ZEROQ_FORMULA,
        "loss": inputs.rounded(loss, 9),
        "loss_f32": loss32,
        "layers": names,
        "mean_terms": numbers(means),
        "std_terms": numbers(deviations),
        "input_mean_term": input_mean.item(),
        "input_std_term": input_std.item(),
        "gradient_f32_relative_l2": inputs.rounded(difference, 3),
        "gradient_l2": inputs.rounded(norms(gradient)),
        "gradient_image0": inputs.rounded(gradient[0].reshape(-1)),
    }


def adam(data: Path) -> dict:
    curves = {}
    for dtype in (torch.float64, torch.float32):
        network = frozen(data, dtype)
        stats = losses.BatchNormInputs(network)
        x = torch.from_numpy(inputs.zeroq_init(BATCH)).to(dtype).requires_grad_()
        optimizer = torch.optim.Adam([x], lr=0.5)
        curve = []
        for step in range(max(STEPS) + 1):
            optimizer.zero_grad()
            loss, _ = zeroq_loss(network, stats, x)
            loss.backward()
            curve.append((loss.item(), x.detach().norm().item()))
            optimizer.step()
        curves[dtype] = curve
    rows = []
    for step in STEPS:
        (loss, norm), (loss32, norm32) = curves[torch.float64][step], curves[torch.float32][step]
        print(f"    after {step:2} Adam steps: loss {loss:.9g} (f32 {loss32:.9g}, relative {abs(loss32 / loss - 1):.1g}), |x| {norm:.7g}")
        rows.append({"step": step, "loss": loss, "loss_f32": loss32, "x_l2": norm, "x_l2_f32": norm32})
    return {"optimizer": "Adam lr 0.5, beta 0.9 0.999, eps 1e-8, no schedule; loss and |x| after so many steps", "steps": rows}


def variants(data: Path) -> dict:
    network = frozen(data, torch.float64)
    stats = losses.BatchNormInputs(network)

    def case(compute, combine, rule):
        x = torch.from_numpy(inputs.images(VARIANT_BATCH)).double().requires_grad_()
        stats.run(network, x)
        terms = compute(x)
        loss = combine(terms)
        (gradient,) = torch.autograd.grad(loss, x)
        document = {"rule": rule, "loss": loss.item()}
        for name, term in zip(("mean_terms", "spread_terms"), terms[:2]):
            document[name] = numbers(term)
        for name, term in zip(("input_mean_term", "input_std_term"), terms[2:]):
            document[name] = term.item()
        document["gradient_l2"] = inputs.rounded(norms(gradient))
        document["gradient_image0_first64"] = inputs.rounded(gradient[0].reshape(-1)[:64])
        print(f"{rule.split(':')[0]}: loss {loss.item():.9g}, |gradient| {gradient.norm().item():.6g}")
        return document

    everything = lambda terms: sum(sum(t) if isinstance(t, list) else t for t in terms)
    first = 10.0
    return {
        "input_shape": [VARIANT_BATCH, 3, 32, 32],
        "input": inputs.INPUT_FORMULA,
        "layers": stats.names,
        "zeroq": case(lambda x: losses.zeroq(stats, x), everything, "ZeroQ: as at_init, on this input"),
        "mean_variance_mse": case(
            lambda _: losses.mean_variance_mse(stats),
            lambda terms: everything(terms) / len(stats.names),
            "GDFQ: mean over layers of mean_c (mu - m)^2 + mean_c (var - v)^2; batch statistics, biased variance; no weight",
        ),
        "unsquared_norms": case(
            lambda _: losses.unsquared_norms(stats),
            everything,
            "DeepInversion: sum over layers of |mu - m|_2 + |var - v|_2; batch statistics, biased variance; every layer weighted 1",
        ),
        "unsquared_norms_first_times_10": case(
            lambda _: losses.unsquared_norms(stats),
            lambda terms: everything(terms) + (first - 1) * (terms[0][0] + terms[1][0]),
            "DeepInversion with first_bn_multiplier 10: the terms below are unweighted, the loss and gradient are weighted",
        ),
        "mean_std_per_channel": case(
            lambda x: losses.mean_std_per_channel(stats, x),
            everything,
            "GENIE: sum over layers of |mu - m|^2 / C + |sigma - sqrt(v + 1e-6)|^2 / C, batch statistics, sigma = sqrt(unbiased variance) "
            "without eps; input: per image against 0 and 1, summed over channels, divided by N",
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inputs.write(
        arguments.out,
        {
            "written_by": "scripts/reference/zeroq_reference.py; do not edit",
            "torch": torch.__version__,
            "teacher": TEACHER,
            "sha256": TEACHERS[TEACHER].sha256(arguments.data),
            "rule": "sum over batch norms of |m - mu|^2 / N + |s - sigma|^2 / N, sums over channels and images, plus the same for the input against "
            "0 and 1; per image: mu, sigma = mean and sqrt(unbiased variance + 1e-6) over H x W; s = sqrt(running_var + 1e-6)",
            "eps": 1e-6,
            "eps_of_s": "1e-6, not the batch norm's own 1e-5",
            "at_init": at_init(arguments.data),
            "adam": adam(arguments.data),
            "variants": variants(arguments.data),
        },
    )


if __name__ == "__main__":
    main()
