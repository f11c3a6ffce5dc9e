"""The teachers of the data folder as plain PyTorch modules, in their checkpoints' own naming.

    python networks.py --data ../../../shared/data [--images 2000] [NAME ...]

prints each teacher's top-1 and top-5 on the test images and exits with 1 where top-1 is further than 0.05 points
from the published figure (only checked on all 10,000 images).
"""

import argparse
import hashlib
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class PadShortcut(nn.Module):
    """Option A: every second pixel, and zero channels evenly on both sides."""

    def __init__(self, padding: int):
        super().__init__()
        self.padding = padding

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm; `shortcut` has no parameters, `downsample` is a 1x1 convolution and batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: str):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            if option == "A":
                self.shortcut = PadShortcut((outputs - inputs) // 2)
            else:
                convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
                self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x):
        skip = self.shortcut(x) if self.downsample is None else self.downsample(x)
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + skip)


class CifarResNet(nn.Module):
    """He et al. 2016, section 4.2: depth 6n + 2, widths 16/32/64, option-A or option-B shortcuts."""

    def __init__(self, depth: int, classes: int, option: str = "A", head: str = "linear"):
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        width = 16
        for stage, outputs in enumerate((16, 32, 64), start=1):
            layers = []
            for index in range(blocks):
                layers.append(BasicBlock(width, outputs, 2 if stage > 1 and index == 0 else 1, option))
                width = outputs
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.head = head
        setattr(self, head, nn.Linear(64, classes))

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return getattr(self, self.head)(y.mean((2, 3)))


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 1x1 convolution to 4 x growth; batch norm, ReLU, 3x3 convolution; concatenated after the input."""

    def __init__(self, inputs: int, growth: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = conv3x3(4 * growth, growth)

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(F.relu(self.bn2(y)))], 1)


class DenseBlock(nn.Module):
    def __init__(self, inputs: int, growth: int, count: int):
        super().__init__()
        self.layer = nn.Sequential(*(DenseLayer(inputs + i * growth, growth) for i in range(count)))

    def forward(self, x):
        return self.layer(x)


class Transition(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x):
        return F.avg_pool2d(self.conv1(F.relu(self.bn1(x))), 2)


class DenseNetBC(nn.Module):
    """Huang et al. 2017: three dense blocks of (depth - 4) / 6 bottleneck layers, compression `reduction` between them."""

    def __init__(self, depth: int, growth: int, reduction: float, classes: int):
        super().__init__()
        count = (depth - 4) // 6
        width = 2 * growth
        self.conv1 = conv3x3(3, width)
        for index in (1, 2, 3):
            setattr(self, f"block{index}", DenseBlock(width, growth, count))
            width += count * growth
            if index < 3:
                outputs = int(width * reduction)
                setattr(self, f"trans{index}", Transition(width, outputs))
                width = outputs
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        y = self.trans1(self.block1(self.conv1(x)))
        y = self.block3(self.trans2(self.block2(y)))
        return self.fc(F.relu(self.bn1(y)).mean((2, 3)))


@dataclass(frozen=True)
class Teacher:
    """A checkpoint, the network that it belongs to, and what its publisher measured."""

    name: str
    file: str
    build: Callable[[], nn.Module]
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    top1: float

    def path(self, data: Path) -> Path:
        return data / "teachers" / self.file

    def load(self, data: Path) -> nn.Module:
        """The network with its weights, in evaluation mode."""
        network = self.build()
        missing, unused = network.load_state_dict(read_state(self.path(data)), strict=False)
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
        if missing or unused:
            raise SystemExit(f"{self.path(data)}: missing {missing}, unused {unused}")
        return network.eval()

    def sha256(self, data: Path) -> str:
        return hashlib.sha256(self.path(data).read_bytes()).hexdigest()


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

TEACHERS = {
    teacher.name: teacher
    for teacher in (
        Teacher("resnet20-12fca82f", "resnet20-12fca82f.th", lambda: CifarResNet(20, 10), 10, *IMAGENET, 91.73),
        Teacher("resnet56-4bfd9763", "resnet56-4bfd9763.th", lambda: CifarResNet(56, 10), 10, *IMAGENET, 93.39),
        Teacher(
            "resnet56-cifar100",
            "resnet56-cifar100.pth",
            lambda: CifarResNet(56, 100, option="B", head="fc"),
            100,
            (0.5, 0.5, 0.5),
            (0.5, 0.5, 0.5),
            71.22,
        ),
        Teacher(
            "resnet20-cifar100",
            "resnet20-cifar100.pt",
            lambda: CifarResNet(20, 100),
            100,
            (0.5071, 0.4865, 0.4409),
            (0.2673, 0.2564, 0.2762),
            65.27,
        ),
        Teacher(
            "densenet100-cifar100",
            "densenet100_cifar100.pth.tar",
            lambda: DenseNetBC(100, 12, 0.5, 100),
            100,
            (0.4914, 0.4822, 0.4465),
            (0.2023, 0.1994, 0.2010),
            75.06,
        ),
    )
}


def read_state(path: Path) -> "OrderedDict[str, torch.Tensor]":
    """A checkpoint's state dict, keys without `module.`."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
    kept = OrderedDict()
    for key, value in state.items():
        kept[key.removeprefix("module.")] = value
    return kept


def test_images(teacher: Teacher, data: Path, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `count` normalised test images `[n, 3, 32, 32]` and their labels."""
    fine = teacher.classes == 100
    path = data / ("cifar-100-binary/test.bin" if fine else "cifar-10-batches-bin/test_batch.bin")
    label_bytes = 2 if fine else 1
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, label_bytes + 3072)[:count]
    pixels = torch.from_numpy(records[:, label_bytes:].reshape(-1, 3, 32, 32).astype(np.float32)) / 255
    mean = torch.tensor(teacher.mean).view(1, 3, 1, 1)
    std = torch.tensor(teacher.std).view(1, 3, 1, 1)
    return (pixels - mean) / std, torch.from_numpy(records[:, label_bytes - 1].astype(np.int64))


@torch.no_grad()
def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch: int = 250) -> tuple[float, float]:
    """Top-1 and top-5 in percent."""
    hits1 = hits5 = 0
    for x, y in zip(images.split(batch), labels.split(batch)):
        order = network(x).topk(5, dim=1).indices
        hits1 += (order[:, 0] == y).sum().item()
        hits5 += (order == y[:, None]).any(1).sum().item()
    return 100 * hits1 / len(labels), 100 * hits5 / len(labels)


def default_data() -> Path:
    """BLINDFOLD_DATA, else the shared data folder beside the repository."""
    return Path(os.environ.get("BLINDFOLD_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TEACHERS))
    parser.add_argument("--data", type=Path, default=default_data(), help="data folder (default: %(default)s)")
    parser.add_argument("--images", type=int, help="only the first N test images")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    unknown = [name for name in arguments.names if name not in TEACHERS]
    if unknown:
        parser.error(f"no teacher {unknown}: one of {', '.join(TEACHERS)}")
    failed = False
    for name in arguments.names or TEACHERS:
        teacher = TEACHERS[name]
        images, labels = test_images(teacher, arguments.data, arguments.images)
        top1, top5 = accuracy(teacher.load(arguments.data), images, labels)
        wrong = len(labels) == 10_000 and abs(top1 - teacher.top1) > 0.05
        failed |= wrong
        verdict = "WRONG" if wrong else "ok"
        print(f"{name:22} top-1 {top1:5.2f} (published {teacher.top1:5.2f})  top-5 {top5:5.2f}  {len(labels)} images  {verdict}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
