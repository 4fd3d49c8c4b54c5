"""Attacks on the input: FGSM and PGD in the pixels of images in 0..1, within a largest change of eps.

Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples" (ICLR 2015); Madry et al.,
"Towards deep learning models resistant to adversarial attacks" (ICLR 2018).

Written here because no kept library covers both tasks: torchattacks accepts logits (N, K) alone and pins
requests to 2.25; foolbox and the Adversarial Robustness Toolbox judge one class per image, without ignored
pixels, and advertorch stopped at torch 1.0. A test compares with foolbox for classification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.inference import Network, predicting
from meddistill.losses import binary_cross_entropy, cross_entropy

EPSILONS = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
"""The usual largest changes: 1, 2, 4 and 8 grey levels of 8-bit images."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, K, *S) and labels to losses whose first axis is B."""


def label_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of each labelled pixel; of each label, where labels have the shape of the logits.

    Args:
        logits: (B, K, *S), or (B, K) for classification.
        label: (B, *S) classes, or (B, K, *S) of 0 and 1; ignored ones lose nothing.

    Example:
        >>> label_loss(torch.zeros(1, 2), torch.tensor([1]))
        tensor([0.6931])
        >>> label_loss(torch.zeros(1, 2), torch.tensor([[1, -100]]))
        tensor([[0.6931, 0.0000]])
    """
    several = logits.shape == label.shape
    return binary_cross_entropy(logits, label) if several else cross_entropy(logits, label)


def fgsm(network: Network, image: Tensor, label: Tensor, *, eps: float, loss: Loss = label_loss) -> Tensor:
    """One step of eps along the sign of the gradient: x + eps sign(dL/dx), cut to 0..1.

    Args:
        network: takes images in 0..1 (normalisation belongs inside) and answers logits; it is asked in
            evaluation mode and keeps its mode and the gradients of its weights.
        image: (B, C, *S) in 0..1.
        label: what the attack leads away from, see `label_loss`.
        eps: largest change of a pixel, 0 or more; 1 / 255 is one grey level of an 8-bit image.
        loss: what is raised. Images are attacked independently of each other.

    Returns:
        (B, C, *S), float32 or the type of `image` if that is wider.

    Raises:
        ConfigError: `eps` is out of range.
        DataError: the image is not in 0..1.

    Example:
        >>> network = torch.nn.Linear(2, 2, bias=False)
        >>> with torch.no_grad():
        ...     _ = network.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> fgsm(network, torch.tensor([[0.5, 0.05]]), torch.tensor([0]), eps=0.1)  # away from class 0
        tensor([[0.4000, 0.1500]])
    """
    return pgd(network, image, label, eps=eps, steps=1, step_size=eps, random_start=False, loss=loss)


def pgd(
    network: Network,
    image: Tensor,
    label: Tensor,
    *,
    eps: float,
    steps: int = 10,
    step_size: float | None = None,
    random_start: bool = True,
    seed: int | Sequence[int] = 0,
    loss: Loss = label_loss,
) -> Tensor:
    """Steps along the sign of the gradient, each cut back to within eps of the image and to 0..1.

    Args:
        network: as for `fgsm`.
        image: (B, C, *S) in 0..1.
        label: what the attack leads away from, see `label_loss`.
        eps: largest change of a pixel, 0 or more.
        steps: how many, 1 or more.
        step_size: length of each; None for 2.5 eps / steps, which reaches every place from any start.
        random_start: begin at a random place within eps, not at the image.
        seed: of the start, which does not depend on the device; or one for each image, so that it does not
            depend on the batch either.
        loss: what is raised.

    Returns:
        (B, C, *S), float32 or the type of `image` if that is wider.

    Raises:
        ConfigError: `eps`, `steps` or `step_size` is out of range, or there are fewer or more seeds than
            images.
        DataError: the image is not in 0..1.

    Example:
        >>> network = torch.nn.Linear(2, 2)
        >>> image = torch.full((1, 2), 0.5)
        >>> change = pgd(network, image, torch.tensor([0]), eps=0.1) - image
        >>> round(change.abs().max().item(), 4)
        0.1
    """
    size = _step(eps, steps, step_size)
    with predicting(network), torch.inference_mode(False), torch.enable_grad():
        clean = image.detach().clone().to(torch.promote_types(image.dtype, torch.float32))
        _check_range(clean)
        low, high = (clean - eps).clamp(min=0), (clean + eps).clamp(max=1)
        attacked = clean
        if random_start:
            attacked = (clean + eps * (2 * _drawn(clean, seed) - 1)).clamp(min=low, max=high)
        for _ in range(steps):
            leaf = attacked.detach().requires_grad_()
            (slope,) = torch.autograd.grad(loss(network(leaf), label.clone()).sum(), leaf)
            attacked = (leaf.detach() + size * slope.sign()).clamp(min=low, max=high)
    return attacked


def _drawn(image: Tensor, seed: int | Sequence[int]) -> Tensor:
    """Numbers in 0..1 of the shape of `image`, drawn at once or for each image by a seed of its own."""
    if isinstance(seed, int):
        return torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)
    if len(seed) != len(image):
        raise ConfigError(f"give one seed for each of the {len(image)} images, got {len(seed)}")
    each = [torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(s)) for s in seed]
    return torch.stack(each).to(image)


def _step(eps: float, steps: int, step_size: float | None) -> float:
    """The length of a step."""
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps <= 1:
        raise ConfigError(f"eps must lie in 0..1 (1/255 is one grey level), got {eps!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"steps must be a whole number of at least 1, got {steps!r}")
    size = 2.5 * eps / steps if step_size is None else step_size
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 <= size < float("inf"):
        raise ConfigError(f"step_size must be a number of 0 or more, got {step_size!r}")
    return size


def _check_range(image: Tensor) -> None:
    """Refuse images that were normalised: cutting them to 0..1 would destroy them."""
    low, high = (float(bound) for bound in image.aminmax()) if image.numel() else (0.0, 1.0)
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"attacks need images in 0..1, these run from {low:.3g} to {high:.3g}; "
            "normalise inside the network"
        )
