"""What the host did, by its name: in words, and whether it is waiting or collecting garbage."""

from __future__ import annotations

import re
from typing import Final

from analysis.show.sheet import in_prose

NOT_SCHEDULED: Final = "not scheduled"
"""What is said of a thread that no CPU ran for most of a gap: it slept, or waited."""

WAITS: Final = re.compile(
    r"p?poll|p?select|epoll_p?wait\d*|p?readv?\d*(?:64)?|recv\w*|accept4?|sem_\w*wait|"
    r"pthread_cond_\w*wait|pthread_\w*join\w*|pthread_mutex_\w*lock|pthread_rwlock_\w*lock|"
    r"pthread_barrier_wait|futex\w*|\w*sleep|sig\w*wait\w*|wait|waitid|waitpid|wait[34]|"
    r"mq_\w*receive|flock|lockf|fread\w*|fgets\w*|getline|getdelim|"
    r"lll_lock_wait\w*|take_gil|PyThread_acquire_lock\w*"
)
"""Calls of the operating system in which a thread waits: for data, a thread, a lock, the time."""

WAITS_IN_PYTHON: Final = re.compile(
    r"\bacquire'? of|\bbuilt-in (?:function|method) (?:sleep|poll|select|wait|recv|read)\b|"
    r"(?:queue|connection|dataloader|selectors|socket)\.py\(\d+\)|"
    r"threading\.py\(\d+\): (?:wait|join)"
)
"""Python functions in which a thread waits."""

COLLECTS: Final = re.compile(r"gc_collect|_?PyGC_Collect|<built-in function collect>")
"""Functions of Python's garbage collector."""


def doing(name: str) -> str:
    """Return in words that the host was in a call or a function, or what is said of it besides.

    >>> doing("poll"), doing(NOT_SCHEDULED)
    ('in poll', 'not scheduled')
    """
    return name if name == NOT_SCHEDULED else f"in {in_prose(name)}"


def waits(name: str) -> bool:
    """Return whether what the host did is waiting, for data, another thread, a lock or the time.

    >>> [waits(name) for name in ("sem_wait", "__poll", NOT_SCHEDULED, "write")]
    [True, True, True, False]
    """
    own = name.strip("_").removeprefix("GI_").strip("_").partition("@")[0]
    known = WAITS.fullmatch(own) is not None or WAITS_IN_PYTHON.search(name) is not None
    return known or name == NOT_SCHEDULED
