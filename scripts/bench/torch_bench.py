"""What `just bench` measures, in PyTorch: ResNet-20 (option A, 10 classes) on 3x32x32.

    python torch_bench.py [--threads N] [--device cpu|cuda] [--seconds 8] [--json]

evaluation   forward in evaluation mode without gradients, images/s at batches 128 and 256; the better one is the figure
zeroq        one step at batch 64: forward, ZeroQ loss over 19 batch norms and the input, backward to the images, Adam
distill      one step at batch 128: teacher forward; student forward with fake quantization W4 per output channel (min-max of
             the current weights) and A4 per tensor at every ReLU (ranges fixed), straight-through; 400 KL at temperature 20 +
             cross-entropy; backward to all parameters; SGD nesterov. Batch norms in evaluation mode, gamma and beta trained.

Weights and images are random: their values do not change the work. Every figure is the median over repetitions
after a warm-up.
"""

import argparse
import copy
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))

import batch_norm_losses
from networks import CifarResNet

BITS = 4
TEMPERATURE = 20.0


class PassThrough(torch.autograd.Function):
    """The affine quantizer of ZeroQ; its gradient is the identity, also outside the range."""

    @staticmethod
    def forward(_context, x, low, high):
        half = 2 ** (BITS - 1)
        scale = (2**BITS - 1) / torch.clamp(high - low, min=1e-8)
        zero = torch.round(scale * low) + half
        return (torch.clamp(torch.round(scale * x - zero), -half, half - 1) + zero) / scale

    @staticmethod
    def backward(_context, gradient):
        return gradient, None, None


class QuantizedConv2d(nn.Conv2d):
    def forward(self, x):
        rows = self.weight.detach().flatten(1)
        shape = (-1, 1, 1, 1)
        weight = PassThrough.apply(self.weight, rows.amin(1).view(shape), rows.amax(1).view(shape))
        return F.conv2d(x, weight, None, self.stride, self.padding)


class QuantizedLinear(nn.Linear):
    def forward(self, x):
        rows = self.weight.detach()
        weight = PassThrough.apply(self.weight, rows.amin(1, keepdim=True), rows.amax(1, keepdim=True))
        return F.linear(x, weight, self.bias)


class QuantizedReLU(nn.Module):
    """A range is taken from the first batch and fixed."""

    def __init__(self):
        super().__init__()
        self.range = None

    def forward(self, x):
        x = F.relu(x)
        if self.range is None:
            self.range = (x.detach().min().clamp(max=0), x.detach().max())
        return PassThrough.apply(x, *self.range)


def student_of(teacher: nn.Module) -> nn.Module:
    """A trainable copy with quantized convolutions, classifier and ReLUs."""
    student = copy.deepcopy(teacher)
    for module in list(student.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                child.__class__ = QuantizedConv2d
            elif isinstance(child, nn.Linear):
                child.__class__ = QuantizedLinear
            elif isinstance(child, nn.ReLU):
                setattr(module, name, QuantizedReLU())
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    return student


class Bench:
    def __init__(self, device: torch.device, seconds: float):
        self.device, self.seconds = device, seconds
        torch.manual_seed(1)
        self.teacher = CifarResNet(20, 10).eval().to(device)
        for parameter in self.teacher.parameters():
            parameter.requires_grad_(False)

    def images(self, count: int) -> torch.Tensor:
        return torch.randn(count, 3, 32, 32, device=self.device)

    def finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def median(self, step) -> float:
        """Seconds of one call: the median over `self.seconds` seconds, at least five calls, after a tenth of that as warm-up."""

        def timed() -> float:
            start = time.perf_counter()
            step()
            self.finish()
            return time.perf_counter() - start

        begin = time.perf_counter()
        for call in range(1000):
            timed()
            if call >= 2 and time.perf_counter() - begin > self.seconds / 10:
                break
        times: list[float] = []
        begin = time.perf_counter()
        while len(times) < 5 or time.perf_counter() - begin < self.seconds:
            times.append(timed())
        return statistics.median(times)

    def evaluation(self, batch: int) -> float:
        """Images a second."""
        images = self.images(batch)

        @torch.no_grad()
        def step():
            self.teacher(images)

        return batch / self.median(step)

    def zeroq(self, batch: int = 64) -> float:
        """Milliseconds a step."""
        network = copy.deepcopy(self.teacher)
        stats = batch_norm_losses.BatchNormInputs(network)
        images = ((torch.randint(0, 254, (batch, 3, 32, 32)).float() - 127.5) / 5418.75).to(self.device).requires_grad_()
        optimizer = torch.optim.Adam([images], lr=0.5)

        def step():
            optimizer.zero_grad()
            stats.run(network, images)
            means, deviations, input_mean, input_std = batch_norm_losses.zeroq(stats, images)
            (sum(means) + sum(deviations) + input_mean + input_std).backward()
            optimizer.step()

        return 1000 * self.median(step)

    def distill(self, batch: int = 128) -> float:
        """Milliseconds a step."""
        student = student_of(self.teacher)
        images = self.images(batch)
        labels = torch.arange(batch, device=self.device) % 10
        optimizer = torch.optim.SGD(student.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=1e-4)

        def step():
            optimizer.zero_grad()
            with torch.no_grad():
                soft = F.softmax(self.teacher(images) / TEMPERATURE, dim=1)
            logits = student(images)
            kl = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=1), soft, reduction="batchmean")
            (TEMPERATURE**2 * kl + F.cross_entropy(logits, labels)).backward()
            optimizer.step()

        return 1000 * self.median(step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of measuring, for each figure (default: 8)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device: leave out --device, or install a CUDA build of torch")
    bench = Bench(device, arguments.seconds)
    by_batch = {str(batch): bench.evaluation(batch) for batch in (128, 256)}
    results = {
        "evaluation_images_per_s": max(by_batch.values()),
        "evaluation_images_per_s_by_batch": by_batch,
        "zeroq_step_ms": bench.zeroq(),
        "distill_step_ms": bench.distill(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    if arguments.json:
        print(json.dumps(results))
        return
    batches = ", ".join(f"batch {batch}: {speed:.0f}" for batch, speed in by_batch.items())
    print(f"PyTorch {results['torch']}, {results['device']}, {results['threads']} threads, load average {results['load_average']}")
    print(f"evaluation    {results['evaluation_images_per_s']:8.0f} images/s   ({batches})")
    print(f"ZeroQ step    {results['zeroq_step_ms']:8.1f} ms         batch 64")
    print(f"distill step  {results['distill_step_ms']:8.1f} ms         batch 128, W4A4")


if __name__ == "__main__":
    main()
