"""The ranges of collectives: where they open, and the bytes they say must move."""

import torch

from model import TransformerLM
from model.parallel import DataParallel, FullyShardedDataParallel, ShardedOptimizer, costs
from profiling import names
from profiling.spans import costs as range_costs
from profiling.spans import recording, span
from tests.made.parallel.cases import TINY, Toy, backward, batch, case, loss_of, own, ranks
from tests.made.runs.recorded import Range, Recorded


def inside(recorded: Recorded, outer: str) -> list[Range]:
    return [inner for range_ in recorded.all(outer) for inner in range_.walk()]


@case
def a_reduction_is_a_range_within_the_backward_pass_and_the_wait_one_after_it() -> None:
    model = DataParallel(TransformerLM(TINY), "bucketed", bucket_size_mb=0.005)
    recorded = Recorded()
    with recording(recorded):
        loss = loss_of(model, *map(own, batch(0)))
        with span(names.BACKWARD):
            backward(loss)
        with span("finish"):
            model.finish_gradient_synchronization()
    assert recorded.balanced
    buckets = len(model.bucket_sizes_bytes)
    assert buckets > 3
    found = inside(recorded, names.BACKWARD)
    reductions = [each for each in found if each.name == names.ALL_REDUCE]
    assert [each.flops for each in reductions] == buckets * [0]
    around = [each for each in found if each.name == names.COMMUNICATION]
    assert [each.tree() for each in around] == buckets * [(names.COMMUNICATION, [names.ALL_REDUCE])]
    waits = [each.tree() for each in inside(recorded, "finish")[1:]]
    assert waits == buckets * [names.COMMUNICATION]
    moved = {bytes_ for name, _, bytes_, _ in range_costs() if name == names.ALL_REDUCE}
    assert {costs.all_reduce(size, ranks()) for size in model.bucket_sizes_bytes} <= moved


@case
def gathers_and_scatters_have_their_names_in_either_pass() -> None:
    model = FullyShardedDataParallel(Toy())
    recorded = Recorded()
    with recording(recorded):
        with span(names.FORWARD):
            loss = loss_of(model, *map(own, batch(0)))
        with span(names.BACKWARD):
            backward(loss)
    assert recorded.balanced
    forward = [each.name for each in inside(recorded, names.FORWARD)]
    assert forward.count(names.ALL_GATHER) == 5
    back = [each.name for each in inside(recorded, names.BACKWARD)]
    assert back.count(names.ALL_GATHER) == 4  # the embedding's gradient needs no embedding
    assert back.count(names.REDUCE_SCATTER) == 4  # the frozen layer has none
    assert not any(name.endswith(names.RECOMPUTE_SUFFIX) for name in back)
    model.finish_gradient_synchronization()


@case
def what_the_owner_passes_on_is_a_broadcast() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = ShardedOptimizer(model.parameters(), torch.optim.SGD, lr=0.1)
    backward(model(torch.ones(1, 3)).sum())
    recorded = Recorded()
    with recording(recorded):
        optimizer.step()
    assert recorded.names().count(names.BROADCAST) == 2
