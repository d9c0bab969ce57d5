"""Self times of operators, against looking at every pair."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.arithmetic.intervals import merge_repeats


class Operator(NamedTuple):
    """One operator as it was recorded, in nanoseconds."""

    thread: int
    start_ns: int
    end_ns: int
    name: int


def self_times(operators: list[Operator]) -> list[tuple[Operator, int]]:
    """Return the operators that are no repeats of the one around them, with their self times."""
    columns = np.array(operators, np.int64).reshape(-1, 4).T
    thread, start, end, name = columns
    own, first = merge_repeats(start, end, thread, name)
    found = zip(operators, own.tolist(), first.tolist(), strict=True)
    return [(operator, self_ns) for operator, self_ns, kept in found if kept]


def sweep(*spans: tuple[str, int, int]) -> list[tuple[str, int, int]]:
    """Return name, duration and self time of operators on one thread, given in order."""
    names = sorted({name for name, _, _ in spans})
    operators = [Operator(1, start, end, names.index(name)) for name, start, end in spans]
    return [(names[o.name], o.end_ns - o.start_ns, self_ns) for o, self_ns in self_times(operators)]


def test_self_time_is_the_duration_less_that_of_the_operators_directly_inside() -> None:
    found = sweep(("linear", 0, 100), ("t", 10, 20), ("mm", 30, 90), ("empty", 40, 45))
    assert found == [("linear", 100, 30), ("t", 10, 10), ("mm", 60, 55), ("empty", 5, 5)]


def test_an_operator_nested_alone_in_one_of_its_own_name_is_one_call() -> None:
    found = sweep(("sum", 0, 100), ("sum", 10, 90), ("sum", 20, 80), ("fill", 30, 40))
    assert found == [("sum", 100, 90), ("fill", 10, 10)]


def test_an_operator_of_its_callers_name_beside_another_is_a_call_of_its_own() -> None:
    found = sweep(("add", 0, 100), ("add", 10, 30), ("mul", 40, 50))
    assert found == [("add", 100, 70), ("add", 20, 20), ("mul", 10, 10)]


def test_what_overlaps_without_nesting_is_not_inside() -> None:
    assert sweep(("a", 0, 10), ("b", 5, 15)) == [("a", 10, 10), ("b", 10, 10)]


def test_threads_do_not_nest_in_one_another() -> None:
    operators = [Operator(1, 0, 10, name=1), Operator(2, 2, 6, name=1)]
    assert [self_ns for _, self_ns in self_times(operators)] == [10, 4]


def inside(operator: Operator, other: Operator) -> bool:
    return (
        operator.thread == other.thread
        and operator.start_ns < other.end_ns
        and operator.end_ns <= other.end_ns
    )


def brute_force(operators: list[Operator]) -> Counter[tuple[Operator, int]]:
    """Look at every pair: the parent is the last that holds all that follows, up to here."""
    parents: dict[int, int | None] = {}
    for at in range(len(operators)):
        holding = (
            other
            for other in reversed(range(at))
            if all(inside(operators[k], operators[other]) for k in range(other + 1, at + 1))
        )
        parents[at] = next(holding, None)

    def doubled() -> int | None:
        alone = Counter(parents.values())
        doubles = (
            at
            for at, parent in parents.items()
            if parent is not None
            and alone[parent] == 1
            and operators[at].name == operators[parent].name
        )
        return next(doubles, None)

    while (child := doubled()) is not None:
        parent = parents.pop(child)
        parents.update({at: parent for at, old in parents.items() if old == child})
    own = {at: operators[at].end_ns - operators[at].start_ns for at in parents}
    for at, parent in parents.items():
        if parent is not None:
            own[parent] -= operators[at].end_ns - operators[at].start_ns
    return Counter((operators[at], self_ns) for at, self_ns in own.items())


@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(0, 12), st.integers(0, 9), st.integers(1, 2)).map(
            lambda each: Operator(each[0], each[1], each[1] + each[2], each[3])
        ),
        max_size=12,
    )
)
def test_the_sweep_equals_looking_at_every_pair(operators: list[Operator]) -> None:
    operators.sort(key=lambda each: (each.thread, each.start_ns, -each.end_ns))
    assert Counter(self_times(operators)) == brute_force(operators)
