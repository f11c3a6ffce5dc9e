"""Logits and input gradients of every teacher: crates/zoo/tests/data/teacher-<name>.json.

    python teacher_reference.py [--data FOLDER] [--images 10000] [NAME ...]

The truth is computed in double precision from the f32 weights and f32 input; `f32_difference` says how far single
precision is from it, so that a test's tolerance can be judged. An image whose gradient differs by more than about 1e-5
has a pre-activation so near 0 that its ReLU is open in one precision and shut in the other; `f32_gradient_relative_l2`
has the difference of each image.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import inputs
from networks import TEACHERS, Teacher, accuracy, default_data, test_images

COUNT = 64
CRATE = Path(__file__).resolve().parents[2] / "crates" / "zoo" / "tests" / "data"


def cotangent(classes: int) -> np.ndarray:
    n = np.arange(COUNT, dtype=np.float64)[:, None]
    k = np.arange(classes, dtype=np.float64)[None, :]
    return np.cos(0.37 * n + 0.11 * k).astype(np.float32)


def logits_and_gradient(network: torch.nn.Module, classes: int, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    network = network.to(dtype)
    x = torch.from_numpy(inputs.images(COUNT)).to(dtype).requires_grad_()
    c = torch.from_numpy(cotangent(classes)).to(dtype)
    logits, gradients = [], []
    for part, weight in zip(x.split(16), c.split(16)):
        y = network(part)
        (gradient,) = torch.autograd.grad((y * weight).sum(), part)
        logits.append(y.detach())
        gradients.append(gradient)
    return torch.cat(logits).numpy(), torch.cat(gradients).numpy()


def reference(teacher: Teacher, data: Path, images: int) -> dict:
    network = teacher.load(data)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    top1, top5 = accuracy(network, *test_images(teacher, data, images))
    single_logits, single_gradient = logits_and_gradient(network, teacher.classes, torch.float32)
    logits, gradient = logits_and_gradient(network, teacher.classes, torch.float64)
    per_image = [inputs.relative(a, b) for a, b in zip(single_gradient, gradient)]
    difference = {
        "logits_relative_l2": inputs.relative(single_logits, logits),
        "logits_max_abs": float(np.abs(single_logits - logits).max()),
        "gradient_relative_l2": inputs.relative(single_gradient, gradient),
        "gradient_relative_l2_worst_image": max(per_image),
        "gradient_relative_l2_image0": per_image[0],
    }
    print(f"{teacher.name}: top-1 {top1:.2f} (published {teacher.top1}), top-5 {top5:.2f} on {images} images; f32 against f64:")
    for key, value in difference.items():
        print(f"    {key} {value:.3g}")
    return {
        "written_by": "scripts/reference/teacher_reference.py; do not edit",
        "torch": torch.__version__,
        "teacher": teacher.name,
        "file": teacher.file,
        "sha256": teacher.sha256(data),
        "published_top1": teacher.top1,
        "measured": {"images": images, "top1": top1, "top5": top5},
        "precision": "computed in f64 from f32 weights and input; stored to 7 significant digits",
        "f32_difference": {key: inputs.rounded(value, 3) for key, value in difference.items()},
        "f32_gradient_relative_l2": inputs.rounded(per_image, 3),
        "input_shape": [COUNT, 3, 32, 32],
        "input": inputs.INPUT_FORMULA,
        "loss": "sum over n, k of logits[n, k] * f32(cos(0.37 * n + 0.11 * k)), the cosine in f64",
        "gradient_l2": inputs.rounded(np.sqrt((gradient.reshape(COUNT, -1) ** 2).sum(1))),
        "logits": inputs.rounded(logits),
        "gradient_image0": inputs.rounded(gradient[0].reshape(-1)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(TEACHERS)}")
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--images", type=int, default=10_000, help="test images for the accuracy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=CRATE)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.names or TEACHERS:
        if name not in TEACHERS:
            parser.error(f"no teacher `{name}`: one of {', '.join(TEACHERS)}")
        document = reference(TEACHERS[name], arguments.data, arguments.images)
        inputs.write(arguments.out / f"teacher-{name}.json", document)


if __name__ == "__main__":
    main()
