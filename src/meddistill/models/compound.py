"""Networks of several branches, each of which answers an image with logits of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from meddistill.errors import ConfigError, unknown_name


class Compound(nn.Module, ABC):
    """A network of several branches. Called with an image (B, C, *S) it answers with the first one's logits.

    `branches` are their names.
    """

    branches: ClassVar[tuple[str, ...]]

    @abstractmethod
    def forward(self, image: Tensor, *more: Any) -> Any:
        """Logits (B, K, *S) of the first branch."""

    def branch(self, name: str) -> nn.Module:
        """The network from an image to the logits of one branch; its weights are those of this one.

        Raises:
            ConfigError: there is no such branch.
        """
        if name not in self.branches:
            raise ConfigError(unknown_name("branch", name, self.branches))
        return self._branch(name)

    def _branch(self, name: str) -> nn.Module:
        part: nn.Module = getattr(self, name)
        return part

    def parts(self) -> list[nn.Module]:
        """The modules that a training step calls: what to hand to torch.compile."""
        return [getattr(self, name) for name in self.branches]


def branches_of(network: nn.Module) -> tuple[str, ...]:
    """The names of the branches of a network; none when it has a single answer.

    Example:
        >>> branches_of(nn.Identity())
        ()
    """
    return network.branches if isinstance(network, Compound) else ()


def branch_of(network: nn.Module, name: str | None) -> nn.Module:
    """The branch of that name, or the network itself for None.

    Raises:
        ConfigError: there is no such branch.

    Example:
        >>> branch_of(nn.Identity(), None)
        Identity()
        >>> branch_of(nn.Identity(), "upper")
        Traceback (most recent call last):
        ...
        meddistill.errors.ConfigError: unknown branch 'upper'; there are none
    """
    if name is None:
        return network
    if not isinstance(network, Compound):
        raise ConfigError(unknown_name("branch", name, []))
    return network.branch(name)
