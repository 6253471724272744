"""A table of named implementations that other packages can extend.

>>> from typing import NamedTuple
>>> class Unit(NamedTuple):
...     name: str
>>> UNITS = Registry("unit", [Unit("tanh")])
>>> UNITS.register(Unit("sine"))
Unit(name='sine')
>>> list(UNITS)
['tanh', 'sine']
"""

from collections.abc import Iterable, Iterator, Mapping, ValuesView
from typing import Protocol, TypeVar


class Named(Protocol):
    """A record with a name."""

    @property
    def name(self) -> str:
        """The name that users type."""
        ...


T = TypeVar("T", bound=Named)


class Registry(Mapping[str, T]):
    """Records of one kind by name, in the order of their registration."""

    def __init__(self, kind: str, records: Iterable[T] = ()) -> None:
        self._kind = kind
        self._records: dict[str, T] = {}
        for record in records:
            self.register(record)
        self._built_in = frozenset(self._records)

    def register(self, record: T) -> T:
        """Add a record under its name and return it.

        Raises:
            ValueError: The name is taken by another record.
        """
        if self._records.setdefault(record.name, record) != record:
            raise ValueError(f"There is already a {self._kind} named {record.name!r}.")
        return record

    @property
    def added(self) -> tuple[T, ...]:
        """The records that were registered after the table was made."""
        return tuple(r for name, r in self._records.items() if name not in self._built_in)

    def replace_added(self, records: Iterable[T]) -> None:
        """Replace the records that were registered after the table was made."""
        built_in = {name: self._records[name] for name in self._records if name in self._built_in}
        self._records = built_in | {record.name: record for record in records}

    def __getitem__(self, name: str) -> T:
        """The record with this name."""
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._records)

    def values(self) -> ValuesView[T]:
        """The records; faster than ``Mapping.values``, which calls ``__getitem__`` for each."""
        return self._records.values()

    def __len__(self) -> int:
        """The number of records."""
        return len(self._records)
