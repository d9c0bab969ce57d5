"""Command-line options that come from the dataclasses which hold them: one default, one help text.

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        steps: int = option(3, "steps that count", read=count, metavar="N")

    add_options(parser, Settings, "steps")        # --steps N   steps that count (default: 3)
    chosen(Settings, parser.parse_args())         # Settings(steps=3)

A field's default is the option's default and stands in its help; a command whose default is another
says so where it adds the option: ``add_options(parser, Settings, "mode", mode="forward")``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from itertools import product
from typing import Any, Final, TypeVar

from profiling.common.cli import Adder, comma_separated, one_of

T = TypeVar("T")

_OPTION: Final = "option"


@dataclass(frozen=True)
class ByDevice:
    """A default that depends on the device a run is made on.

    >>> str(ByDevice(4, cpu=1)), ByDevice(4, cpu=1).on("cuda:0")
    ('4; on a CPU 1', 4)
    """

    gpu: Any
    cpu: Any

    def on(self, device: str) -> Any:
        """Return the default on ``cpu``, ``cuda`` or ``cuda:N``."""
        return self.gpu if device.startswith("cuda") else self.cpu

    def __str__(self) -> str:
        return f"{_words(self.gpu)}; on a CPU {_words(self.cpu)}"


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a field of a dataclass is on the command line.

    Attributes:
        default: where it is not given; of a `ByDevice` the device's.
        help: what it says; the default follows, but for None and switches.
        read: makes the value of a word; None keeps the word.
        choices: the words there are.
        metavar: what stands for the value in the help.
        flag: ``--name`` where it is not the field's.
    """

    default: Any
    help: str
    read: Callable[[str], Any] | None = None
    choices: Sequence[str] | None = None
    metavar: str | None = None
    flag: str | None = None

    def add(self, parser: Adder, name: str, default: Any) -> None:
        """Add the option to a parser or a group of it."""
        flag = self.flag or "--" + name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(
                flag, dest=name, action="store_true", default=default, help=self.help
            )
            return
        shown = "" if default is None else f"(default: {_words(default)})"
        more = {"choices": self.choices} if self.choices else {"metavar": self.metavar}
        parser.add_argument(
            flag,
            dest=name,
            type=self.read or str,
            default=default,
            help=" ".join(part for part in (self.help, shown) if part).replace("%", "%%"),
            **more,
        )


def option(
    default: Any,
    help: str = "",
    *,
    read: Callable[[str], Any] | None = None,
    choices: Sequence[str] | None = None,
    metavar: str | None = None,
    flag: str | None = None,
) -> Any:
    """Return a field of a dataclass that is an option too; see `Option` for what is what.

    A field whose default is a `ByDevice` has none as a dataclass: `chosen` fills it in.
    """
    if choices is None and read is not None and metavar is None:
        metavar = "N"
    known = Option(
        default=default, help=help, read=read, choices=choices, metavar=metavar, flag=flag
    )
    if isinstance(default, ByDevice):
        return field(metadata={_OPTION: known})
    return field(default=default, metadata={_OPTION: known})


def listed(
    default: Any,
    flag: str,
    help: str = "",
    *,
    read: Callable[[str], Any] | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Return a field of a dataclass that is an option too, whose value is a list.

    Args:
        default: a tuple, or a `ByDevice` of two; or words to be read.
        flag: on the command line, where its items stand with commas between.
        help: what it says.
        read: makes an item of a word; None keeps the word.
        choices: the words there are; they stand in the help.
    """
    if choices:
        read, help = one_of(*choices), " ".join(["of", ", ".join(choices), help]).strip()
    metavar = "N,N" if read and not choices else "NAME,NAME"
    return option(default, help, read=comma_separated(read or str), metavar=metavar, flag=flag)


def options_of(cls: type) -> dict[str, Option]:
    """Return the options among the fields of a dataclass, by name, in order."""
    return {each.name: each.metadata[_OPTION] for each in fields(cls) if _OPTION in each.metadata}


def add_options(parser: Adder, cls: type, *names: str, **defaults: Any) -> None:
    """Add an option for fields of a dataclass.

    Args:
        parser: or a group of it.
        cls: the dataclass.
        names: which fields, in this order; all that are options where none is named.
        defaults: those that differ from the dataclass's.
    """
    known = options_of(cls)
    for name in names or known:
        known[name].add(parser, name, defaults.get(name, known[name].default))


def chosen(cls: type[T], arguments: object, **more: Any) -> T:
    """Return a dataclass of the options that were parsed.

    Args:
        cls: the dataclass.
        arguments: what was parsed, or another dataclass that has some of the fields; those that it
            lacks keep the dataclass's defaults.
        more: fields that are no options, or are not what was parsed. Its ``device``, or that of the
            arguments, decides between the defaults of a `ByDevice`.
    """
    given = {
        each.name: getattr(arguments, each.name)
        for each in fields(cls)  # type: ignore[arg-type]  # a dataclass, which type[T] cannot say
        if hasattr(arguments, each.name)
    } | more
    for each in fields(cls):  # type: ignore[arg-type]
        if each.name not in given and isinstance(default := _default(each), ByDevice):
            given[each.name] = default
    device = str(given.get("device"))
    if "device" not in {each.name for each in fields(cls)}:  # type: ignore[arg-type]
        given.pop("device", None)
    return cls(
        **{
            name: value.on(device) if isinstance(value, ByDevice) else value
            for name, value in given.items()
        }
    )


def combinations(lists: object) -> Iterator[dict[str, Any]]:
    """Yield every combination of what a dataclass of lists holds, by field, the last one fastest.

    Args:
        lists: a dataclass; each field holds a list, and is called as one of its items.
    """
    names = [each.name for each in fields(lists)]  # type: ignore[arg-type]
    for values in product(*(getattr(lists, name) for name in names)):
        yield dict(zip(names, values, strict=True))


def _default(of: "Field[Any]") -> Any:
    known = of.metadata.get(_OPTION)
    return known.default if known else MISSING


def _words(default: Any) -> str:
    """Return a default as one types it."""
    if isinstance(default, str) or not isinstance(default, Iterable):
        return str(default)
    return ",".join(map(str, default))
