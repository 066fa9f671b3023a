"""What one frame of a film does to its own mel frame, the rest of the film as it is.

Grad-CAM of frame t needs the gradient of mel frame t with respect to image frame t alone. Done plainly this
is a backward pass through the recurrent network for each frame. In an LSTM of one layer it is not needed:
the state that frame t meets was made by the frames before it (in the other direction: after it) and does not
depend on frame t. So with the states of one run over the film, mel frame t is one step of each direction,
and the gradients of all frames are those of T steps side by side: the cost of a film instead of its square.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name

from mri2speech.acoustic.model import AcousticModel


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def differentiable(lstm: nn.LSTM) -> Iterator[None]:
    """The LSTM in training mode without dropout, which changes no number: cuDNN has no backward pass else."""
    training, dropout = lstm.training, lstm.dropout
    lstm.train()
    lstm.dropout = 0.0
    try:
        yield
    finally:
        lstm.dropout = dropout
        lstm.train(training)


@dataclass(frozen=True)
class _Direction:
    """One direction of the LSTM: its weights, and the state that meets each frame."""

    weight: Tensor  # [4 H, C]
    gates: Tensor  # of the hidden state and both biases, [T, 4 H]
    cell: Tensor  # [T, H]

    def __call__(self, index: Tensor, pooled: Tensor) -> Tensor:
        """Output at frames `index` `[M]` for these features `[M, C]`, `[M, H]`."""
        update, forget, out = _gates(F.linear(pooled, self.weight) + self.gates[index])
        return out * torch.tanh(forget * self.cell[index] + update)


class FrameReadout:
    """Mel frames as functions of one image frame each.

    Args:
        model: In evaluation mode.
        pooled: What the CNN made of the film.

    Shape:
        - pooled: `[T, C]`
    """

    def __init__(self, model: AcousticModel, pooled: Tensor) -> None:
        self._model, self._pooled = model, pooled.detach()
        self._directions: list[_Direction] = []
        if model.lstm.num_layers == 1:
            with torch.no_grad():
                outputs = model.lstm(self._pooled[None])[0][0]  # [T, H] or, two directions, [T, 2 H]
                self._directions.append(_direction(model.lstm, "", self._pooled, outputs))
                if model.lstm.bidirectional:
                    self._directions.append(_direction(model.lstm, "_reverse", self._pooled, outputs))

    def mels(self, index: Tensor, pooled: Tensor) -> Tensor:
        """Normalised mel frames of a film in which one frame is another.

        Args:
            index: Which frame; each of the M cases is about a film of its own.
            pooled: What the CNN makes of the frame that is there instead.

        Shape:
            - index: `[M]`
            - pooled: `[M, C]`
            - output: `[M, n_mels]`
        """
        if not self._directions:
            return self._mels_by_copies(index, pooled)
        total = torch.stack([direction(index, pooled) for direction in self._directions]).sum(0)
        mels: Tensor = self._model.head(total)
        return mels

    def _mels_by_copies(self, index: Tensor, pooled: Tensor) -> Tensor:
        """The same for any recurrent network, from M whole films."""
        rows = torch.arange(len(index), device=index.device)
        copies = self._pooled.expand(len(index), -1, -1).index_put((rows, index), pooled)
        with differentiable(self._model.lstm):
            return self._model.sequence(copies)[rows, index]


def _direction(lstm: nn.LSTM, suffix: str, pooled: Tensor, outputs: Tensor) -> _Direction:
    weights: dict[str, Tensor] = {
        name: getattr(lstm, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    backwards = bool(suffix)
    size = lstm.hidden_size
    hidden = outputs[:, size:] if backwards else outputs[:, :size]
    if backwards:
        pooled, hidden = pooled.flip(0), hidden.flip(0)
    before = F.pad(hidden[:-1], (0, 0, 1, 0))
    gates = F.linear(before, weights["weight_hh"]) + weights["bias_ih"] + weights["bias_hh"]
    update, forget, _ = _gates(F.linear(pooled, weights["weight_ih"]) + gates)
    cells = [torch.zeros_like(update[0])]
    for t in range(len(pooled) - 1):
        cells.append(forget[t] * cells[-1] + update[t])
    cell = torch.stack(cells)
    if backwards:
        gates, cell = gates.flip(0), cell.flip(0)
    return _Direction(weights["weight_ih"].detach(), gates, cell)


def _gates(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is added to the cell, what is kept of it, and what is let out, each `[..., H]`."""
    enter, forget, candidate, out = values.chunk(4, dim=-1)
    return torch.sigmoid(enter) * torch.tanh(candidate), torch.sigmoid(forget), torch.sigmoid(out)
