"""Values of which every request makes several: frozen for the type checker, plain when they run.

Python sets each field of a frozen dataclass through `object.__setattr__`, which costs four times as much.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(shape: type[T]) -> type[T]:
    """A dataclass that compares and hashes by its fields; mypy refuses to change one after it was made."""
    made: Callable[[type[T]], type[T]] = dataclass(unsafe_hash=True)
    return made(shape)
