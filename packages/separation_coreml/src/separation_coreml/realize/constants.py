"""What a model computes from nothing but its settings: windows, positions, masks, indices.

A model is run once with real data. Every value that does not depend on its input is written down in the order
in which it was made. When the model is captured, the same calls get these values back, as named buffers where
the graph needs them: nothing of their making is captured, and Python may ask for their numbers, which neither
`torch.jit.trace` nor `torch.export` allows of a traced tensor.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from separation_coreml.realize.values import Pair, RealizeError, Value, leaves, map_leaves


@dataclass(frozen=True)
class Stored:
    """Where a recorded tensor is kept: its index among the recording's tensors."""

    index: int


@dataclass(frozen=True)
class StoredPair:
    """Where the parts of a recorded complex tensor are kept."""

    re: Stored
    im: Stored


@dataclass
class Recording:
    """The values of one run, in order.

    Attributes:
        entries: Name of the operation and its value, with `Stored` in place of tensors.
        tensors: The tensors.
        names: Name of each tensor, unique.
        used: Indices of the tensors that meet a value which depends on the input.
        operations: How often each complex operation was replaced.
    """

    entries: list[tuple[str, Value]] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    operations: dict[str, int] = field(default_factory=dict)


class Constants:
    """Writes a recording, or plays it back.

    Args:
        recording: To be written to, or played.
        buffers: None to write; the tensors to hand out by index to play.
    """

    def __init__(self, recording: Recording, buffers: Callable[[int], Tensor] | None) -> None:
        self.recording = recording
        self.buffers = buffers
        self._position = 0
        # By id; the tensor is kept so that its id stays its own.
        self._known: dict[int, tuple[Tensor, int]] = {}

    def __contains__(self, value: object) -> bool:
        return id(value) in self._known

    @property
    def writing(self) -> bool:
        """Whether this is the first run of the model."""
        return self.buffers is None

    def use(self, value: object) -> None:
        """Note that the graph needs a constant."""
        if (known := self._known.get(id(value))) is not None:
            self.recording.used.add(known[1])

    def belongs_to(self, value: object, prefix: str) -> bool:
        """Whether a value is a constant whose name begins like this."""
        known = self._known.get(id(value))
        return known is not None and self.recording.names[known[1]].startswith(prefix)

    def number(self, value: Tensor) -> Tensor:
        """The recorded tensor behind a constant, whose numbers may be asked for."""
        known = self._known.get(id(value))
        return value if known is None else self.recording.tensors[known[1]]

    def make(self, name: str, build: Callable[[], Value], *, shared: bool = False) -> Value:
        """The value of `build`, computed when writing and read when playing.

        Args:
            name: Name of the operation.
            build: Makes the value.
            shared: Whether an equal tensor of the same name shall be used again.

        Raises:
            RealizeError: If the model does not make the same constants a second time.
        """
        if self.buffers is None:
            value = build()
            self.recording.entries.append(
                (name, map_leaves(lambda leaf: self._store(name, leaf, shared), value))
            )
        if self._position >= len(self.recording.entries):
            raise RealizeError(f"{name}: found a constant that was not there in the first run of the model")
        recorded, value = self.recording.entries[self._position]
        if recorded != name:
            raise RealizeError(
                f"{name}: found a constant made by {name}, expected {recorded}, as in the model's first run"
            )
        self._position += 1
        return map_leaves(self._fetch, value)

    def _store(self, name: str, value: Value, shared: bool) -> Value:
        if not isinstance(value, Tensor):
            return value
        if value.is_complex():
            parts = torch.view_as_real(value.detach().resolve_conj())
            re, im = (self._store(name, parts[..., part].contiguous(), shared) for part in (0, 1))
            return StoredPair(re, im)
        tensors = self.recording.tensors
        if id(value) in self._known:
            return Stored(self._known[id(value)][1])
        if shared:
            same = [i for i, n in enumerate(self.recording.names) if n.rpartition("_")[0] == name]
            for index in same:
                if tensors[index].dtype == value.dtype and torch.equal(tensors[index], value):
                    return Stored(index)
        tensors.append(value.detach())
        self.recording.names.append(f"{name}_{len(tensors)}")
        return Stored(len(tensors) - 1)

    def _fetch(self, value: Value) -> Value:
        if isinstance(value, StoredPair):
            return Pair(self._fetch(value.re), self._fetch(value.im))
        if not isinstance(value, Stored):
            return value
        index = value.index
        tensor = self.recording.tensors[index]
        if self.buffers is not None and index in self.recording.used:
            tensor = self.buffers(index)
        self._known[id(tensor)] = (tensor, index)
        return tensor


def depends_on_input(constants: Constants, arguments: Value) -> bool:
    """Whether some tensor among the arguments is not a constant."""
    return any(isinstance(leaf, Tensor) and leaf not in constants for leaf in leaves(arguments))


# Set by the mode while a model runs in it.
ACTIVE: ContextVar[Callable[[str, Callable[[], Tensor]], Tensor]] = ContextVar("constant")


def constant(name: str, build: Callable[[], Tensor]) -> Tensor:
    """A named constant of the graph, for the operations that need tables of their own.

    Args:
        name: Its name; equal tensors of one name become one.
        build: Computes it; called once, with torch as it is outside the mode.
    """
    return ACTIVE.get()(name, build)
