"""The four losses of the literature that pull images towards a network's batch-norm statistics, named apart.

x_l: input of batch norm l (here always a convolution's output), [N, C, H, W]; m_l, v_l: its running mean and variance.
Each function returns the loss's terms, one a layer (and the input's, where there is one); sums are left to the caller.
"""

import torch
from torch import nn


class BatchNormInputs:
    """Collects every batch norm's input during a forward pass, in the order of the pass."""

    def __init__(self, network: nn.Module):
        self.names, self.inputs, self.means, self.variances = [], [], [], []
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                self.names.append(name)
                self.means.append(module.running_mean)
                self.variances.append(module.running_var)
                module.register_forward_pre_hook(self._keep)

    def _keep(self, _module, arguments):
        self.inputs.append(arguments[0])

    def run(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        self.inputs = []
        return network(x)


def squares(difference: torch.Tensor) -> torch.Tensor:
    return difference.pow(2).sum()


def zeroq(stats: BatchNormInputs, x: torch.Tensor, eps: float = 1e-6) -> tuple[list, list, torch.Tensor, torch.Tensor]:
    """ZeroQ: |m - mu|^2 / N and |sqrt(v + eps) - sigma|^2 / N, sums over images and channels.

    mu, sigma: [N, C], of each image apart; sigma = sqrt(unbiased variance over H x W + eps). Input: the same against 0 and 1.
    """

    def of_images(y):
        flat = y.flatten(2)
        return flat.mean(2), (flat.var(2, unbiased=True) + eps).sqrt()

    means, deviations = [], []
    for y, m, v in zip(stats.inputs, stats.means, stats.variances):
        mu, sigma = of_images(y)
        means.append(squares(m - mu) / len(y))
        deviations.append(squares((v + eps).sqrt() - sigma) / len(y))
    mu, sigma = of_images(x)
    return means, deviations, squares(mu) / len(x), squares(1 - sigma) / len(x)


def mean_variance_mse(stats: BatchNormInputs) -> tuple[list, list]:
    """GDFQ: mean over channels of (mu - m)^2 and of (var - v)^2; statistics of the batch, biased variance.

    The loss is the mean over layers of both.
    """
    means, variances = [], []
    for y, m, v in zip(stats.inputs, stats.means, stats.variances):
        means.append((y.mean((0, 2, 3)) - m).pow(2).mean())
        variances.append((y.var((0, 2, 3), unbiased=False) - v).pow(2).mean())
    return means, variances


def unsquared_norms(stats: BatchNormInputs) -> tuple[list, list]:
    """DeepInversion: |mu - m|_2 and |var - v|_2, not squared; statistics of the batch, biased variance.

    The loss is the sum over layers, the first one weighted by `first_bn_multiplier` (10).
    """
    means, variances = [], []
    for y, m, v in zip(stats.inputs, stats.means, stats.variances):
        means.append((y.mean((0, 2, 3)) - m).norm())
        variances.append((y.var((0, 2, 3), unbiased=False) - v).norm())
    return means, variances


def mean_std_per_channel(stats: BatchNormInputs, x: torch.Tensor, eps: float = 1e-6) -> tuple[list, list, torch.Tensor, torch.Tensor]:
    """GENIE: |mu - m|^2 / C and |sigma - sqrt(v + eps)|^2 / C; statistics of the batch, sigma from the unbiased variance, no eps.

    The input's term is per image, against 0 and 1, summed over channels and divided by N. The loss is the sum of all.
    """
    means, deviations = [], []
    for y, m, v in zip(stats.inputs, stats.means, stats.variances):
        means.append(squares(y.mean((0, 2, 3)) - m) / len(m))
        deviations.append(squares(y.std((0, 2, 3), unbiased=True) - (v + eps).sqrt()) / len(m))
    return means, deviations, squares(x.mean((2, 3))) / len(x), squares(1 - x.std((2, 3), unbiased=True)) / len(x)
