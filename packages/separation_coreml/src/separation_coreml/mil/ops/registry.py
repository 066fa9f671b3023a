"""The table of operations: how each kind of the MIL language is computed with torch."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

# Parameters that change nothing here: torch checks indices always.
IGNORED = frozenset({"validate_indices"})


@dataclass(frozen=True)
class Definition:
    """How one kind of operation is computed.

    Attributes:
        kind: Its name in MIL.
        group: The module that defines it.
        function: Takes the operation's parameters by name and gives a tensor, or a tuple of them.
        attributes: Parameters that reach the function as Python numbers, strings or lists; all others are
            tensors (a tuple of tensors for parameters of several values).
        moves: The output's numbers are numbers of the input, so they need no rounding.
        prepare: Applied once, when the program is loaded, to the constant parameters; it may bring weights
            into the layout that torch wants.
    """

    kind: str
    group: str
    function: Function
    attributes: frozenset[str]
    moves: bool
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None

    @property
    def parameters(self) -> Mapping[str, bool]:
        """The parameters by name; true for those that may be left out."""
        return {
            name: parameter.default is not inspect.Parameter.empty
            for name, parameter in inspect.signature(self.function).parameters.items()
        }


OPERATIONS: dict[str, Definition] = {}


def operation(
    *kinds: str,
    attributes: tuple[str, ...] = (),
    moves: bool = False,
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Enter a function into the table under one or more kinds; see `Definition`."""

    def enter(function: F) -> F:
        for kind in kinds:
            define(kind, function, attributes=attributes, moves=moves, prepare=prepare)
        return function

    return enter


def define(
    kind: str,
    function: Function,
    *,
    attributes: tuple[str, ...] = (),
    moves: bool = False,
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> None:
    """Enter one function into the table; see `Definition`."""
    group = function.__module__.rsplit(".", 1)[-1]
    OPERATIONS[kind] = Definition(kind, group, function, frozenset(attributes), moves, prepare)
