"""CPU operators as NVTX ranges, for nsys, which knows nothing of them."""

from typing import Any

import nvtx
from torch.utils._python_dispatch import TorchDispatchMode

from profiling import names


class NvtxOperators(TorchDispatchMode):
    """Push a range in the domain ``aten`` around every operator dispatched, backward too.

    It costs some 7 microseconds an operator, so it is for runs without a GPU, where operators
    take the kernels' place. Annotations are made once per operator: NVTX keeps every string.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._known: dict[str, nvtx.annotate] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run one operator inside its range."""
        name = func._schema.name
        annotation = self._known.get(name)
        if annotation is None:
            annotation = nvtx.annotate(name, domain=names.OPERATOR_DOMAIN)
            self._known[name] = annotation
        with annotation:
            return func(*args, **(kwargs or {}))
