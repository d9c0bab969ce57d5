"""Data parallelism: every rank has the whole model and a part of the batch.

    model = DataParallel(TransformerLM(config), "bucketed", bucket_size_mb=25)
    optimizer = torch.optim.AdamW(model.parameters())
    loss(model(inputs), targets).backward()
    model.finish_gradient_synchronization()
    optimizer.step()

Four strategies, with the same result:

* ``naive``: after the backward pass, one gradient after the other;
* ``flat``: after the backward pass, all of them as one tensor;
* ``overlapped``: each as soon as it is there, while the backward pass goes on;
* ``bucketed``: likewise, put together to buckets, those of the last layers first.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from model.parallel import buckets
from model.parallel.collectives import Group
from model.parallel.reducer import ReducedModule, Reducer
from model.parallel.strategies import BUCKET_SIZE_MB, STRATEGIES


class DataParallel(ReducedModule):
    """A module whose gradients are averaged over the ranks.

    Every rank must make it, of the same module, and ends with the parameters and buffers of rank
    0. Which parameters are trained is settled here: frozen ones are neither reduced nor waited
    for. A tied one is reduced once. One that some rank does not use in a step counts as zeros
    there, so ranks may take different paths; one that no rank uses has zeros too, but keeps its
    gradient None with ``find_unused`` (see `Reducer`). Buffers are not kept alike afterwards.

    Args:
        module: on the device it will be trained on.
        strategy: one of `STRATEGIES`.
        bucket_size_mb: the most in a bucket of ``bucketed``, in megabytes of 10^6 bytes; a larger
            gradient has one for itself; None makes one bucket of all.
        find_unused: see above.
        group: the ranks; None is all of them.

    Raises:
        ParallelError: the ranks have different modules or options.
        ValueError: no strategy is called so, or the bucket is smaller than nothing.
    """

    def __init__(
        self,
        module: nn.Module,
        strategy: str = "overlapped",
        *,
        bucket_size_mb: float | None = BUCKET_SIZE_MB,
        find_unused: bool = False,
        group: Group = None,
    ) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"no strategy is called {strategy!r}; there are: {STRATEGIES}")
        if bucket_size_mb is not None and not bucket_size_mb > 0:
            raise ValueError(f"bucket_size_mb must be positive, not {bucket_size_mb!r}")
        options = {"strategy": strategy, "find_unused": find_unused}
        if strategy == "bucketed":
            options |= {"bucket_size_mb": bucket_size_mb}
        super().__init__(module, options, group)
        self._reducer = Reducer(
            [named for named in module.named_parameters() if named[1].requires_grad],
            bucket_bytes=most_bytes(strategy, bucket_size_mb),
            overlap=strategy in {"overlapped", "bucketed"},
            one_by_one=strategy == "naive",
            find_unused=find_unused,
            group=group,
        )

    def start_batch(self) -> None:
        """Forget what a step that was broken off has left; in an ordinary step there is nothing."""
        self._reducer.abandon()

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Only add up gradients in the backward passes inside; the next one outside averages all.

        Do not call `finish_gradient_synchronization` in here.
        """
        before, self._reducer.enabled = self._reducer.enabled, False
        try:
            yield
        finally:
            self._reducer.enabled = before

    @property
    def bucket_sizes_bytes(self) -> list[int]:
        """Bytes of each all-reduce, in the order they are launched."""
        return self._reducer.sizes_bytes


def most_bytes(strategy: str, bucket_size_mb: float | None) -> float | None:
    """Return the most that `buckets.make` may put into one bucket."""
    if strategy == "bucketed":
        return None if bucket_size_mb is None else bucket_size_mb * buckets.MEGABYTE
    return None if strategy == "flat" else 0
