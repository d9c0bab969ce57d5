"""An optimizer whose state is spread over the ranks (ZeRO stage 1, arXiv 1910.02054).

    optimizer = ShardedOptimizer(model.parameters(), torch.optim.AdamW, lr=3e-4)

Each parameter has one rank that keeps its state and updates it; after the step that rank gives
the new values to all others. Gradients must be averages already (`DataParallel`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.parallel import agreement
from model.parallel.collectives import Group, broadcast
from model.parallel.group import ParallelError


def assign(counts: Sequence[int], loads: list[int]) -> list[int]:
    """Return a rank for each parameter: that with the least so far, the largest first.

    Args:
        counts: numbers in each parameter.
        loads: numbers each rank has already; added to.

    >>> assign([10, 10, 50, 40], [0, 0])
    [1, 0, 0, 1]
    """
    owners = [0] * len(counts)
    for index in sorted(range(len(counts)), key=lambda index: (-counts[index], index)):
        owner = loads.index(min(loads))
        owners[index] = owner
        loads[owner] += counts[index]
    return owners


class ShardedOptimizer(torch.optim.Optimizer):
    """Any torch optimizer, with about 1/N of its state on each of N ranks.

    What it is told of a parameter group (a learning rate, by a scheduler too) holds for the
    wrapped optimizer. ``state`` is that of this rank's share.

    Args:
        params: as any optimizer takes them, in the same order on every rank.
        optimizer_cls: of the optimizer to wrap; it must treat each parameter by itself.
        group: the ranks; None is all of them.
        kwargs: for the wrapped optimizer.

    Raises:
        ParallelError: the ranks give different parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        optimizer_cls: type[torch.optim.Optimizer],
        *,
        group: Group = None,
        **kwargs: Any,
    ) -> None:
        self._group = group
        self._rank = dist.get_rank(group)
        self._loads = [0] * dist.get_world_size(group)
        self._owners: dict[Tensor, int] = {}
        self._local: torch.optim.Optimizer | None = None
        self._make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = lambda groups: (
            optimizer_cls(groups, **kwargs)
        )
        given = _listed(params)
        super().__init__(given, _defaults(given, self._make))
        self.state = self._wrapped.state  # torch refuses an empty list of parameters

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, spread over the ranks like the others; all ranks must call this.

        Raises:
            ParallelError: the ranks give different parameters.
        """
        super().add_param_group(param_group)
        added = self.param_groups[-1]
        parameters: list[Tensor] = added["params"]
        number = len(self.param_groups) - 1
        lines = [
            (f"parameter {place} of group {number}", agreement.describe(parameter))
            for place, parameter in enumerate(parameters)
        ]
        agreement.check(lines, self._group)
        # What is frozen has no state.
        counts = [each.numel() if each.requires_grad else 0 for each in parameters]
        owners = assign(counts, self._loads)
        self._owners |= dict(zip(parameters, owners, strict=True))
        local = {**added, "params": [each for each in parameters if self._is_mine(each)]}
        local.pop("param_names", None)
        if self._local is None:
            self._local = self._make([local])
        else:
            self._local.add_param_group(local)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update this rank's share, and take the others' from their ranks.

        Raises:
            RuntimeError: another rank is gone, or the group's time is up.
        """
        self._tell_options(self.param_groups, self._wrapped.param_groups)
        loss = self._wrapped.step(closure)
        self._tell_options(self._wrapped.param_groups, self.param_groups)
        pending = [
            broadcast(parameter.detach(), owner, self._group)
            for parameter, owner in self._owners.items()
            if parameter.requires_grad
        ]
        for each in pending:
            each.wait()
        return loss

    @property
    def own_parameters(self) -> list[Tensor]:
        """The parameters that this rank updates."""
        return [each for each in self._owners if each.requires_grad and self._is_mine(each)]

    @property
    def _wrapped(self) -> torch.optim.Optimizer:
        assert self._local is not None, "made with the first group"
        return self._local

    def _is_mine(self, parameter: Tensor) -> bool:
        return self._owners[parameter] == self._rank

    @staticmethod
    def _tell_options(source: list[dict[str, Any]], target: list[dict[str, Any]]) -> None:
        for theirs, ours in zip(source, target, strict=True):
            named = ("params", "param_names")
            ours |= {key: value for key, value in theirs.items() if key not in named}

    def state_dict(self) -> dict[str, Any]:
        """Refuse: one rank's share would pass for the whole.

        Raises:
            ParallelError: always.
        """
        raise ParallelError(
            "each rank has a part of the optimizer's state; call consolidated_state_dict() on "
            "every rank, and save what rank 0 gets"
        )

    def consolidated_state_dict(self, to: int = 0) -> dict[str, Any] | None:
        """Return the whole state as the wrapped optimizer would, on one rank; all must call this.

        Args:
            to: the rank, counted within the group, whose memory holds the whole state then.

        Returns:
            What ``load_state_dict`` takes, of this class or of the wrapped one, with tensors on
            the CPU; None on the other ranks.
        """
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        numbers = {parameter: number for number, parameter in enumerate(every)}
        mine = {
            numbers[each]: {
                key: value.detach().cpu() if isinstance(value, Tensor) else value
                for key, value in state.items()
            }
            for each, state in self._wrapped.state.items()
        }
        gathered: list[Any] | None = [None] * len(self._loads) if self._rank == to else None
        dist.gather_object(mine, gathered, group=self._group, group_dst=to)
        if gathered is None:
            return None
        groups = [
            {**group, "params": [numbers[each] for each in group["params"]]}
            for group in self.param_groups
        ]
        state = {number: kept for share in gathered for number, kept in share.items()}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take this rank's share of a whole state; every rank must be given the whole.

        Raises:
            ValueError: it belongs to other parameter groups.
        """
        saved = state_dict["param_groups"]
        sizes = [[len(each["params"]) for each in groups] for groups in (saved, self.param_groups)]
        if sizes[0] != sizes[1]:
            raise ValueError("the state is of other parameter groups; load that of this optimizer")
        state: dict[int, Any] = {}
        groups = []
        for ours, theirs in zip(self.param_groups, saved, strict=True):
            mine = [
                number
                for each, number in zip(ours["params"], theirs["params"], strict=True)
                if self._is_mine(each)
            ]
            state |= {n: state_dict["state"][n] for n in mine if n in state_dict["state"]}
            kept = {key: value for key, value in theirs.items() if key != "param_names"}
            groups.append({**kept, "params": mine})
        self._wrapped.load_state_dict({"state": state, "param_groups": groups})
        self._tell_options(self._wrapped.param_groups, self.param_groups)
        self.state = self._wrapped.state


def _listed(params: Iterable[Any]) -> list[Any]:
    """Return parameters or groups of them, so that they can be gone over twice."""
    if isinstance(params, Tensor):
        raise TypeError("give the parameters as a list, or as a list of groups")
    return [
        {**each, "params": _listed(each["params"])}
        if isinstance(each, dict) and not isinstance(each["params"], Tensor)
        else each
        for each in params
    ]


def _defaults(
    given: Sequence[Any], make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
) -> dict[str, Any]:
    """Return the wrapped optimizer's defaults, as one over a single number has them."""
    found = given[0] if given else torch.empty(0)
    while not isinstance(found, Tensor):  # a group, a list, or a name with its parameter
        found = found["params"] if isinstance(found, dict) else found[-1]
    lone = nn.Parameter(torch.zeros(1, dtype=found.dtype, device=found.device))
    return make([{"params": [lone]}]).defaults
