"""Recurrent layers.

Weights lie as MIL has them, gates one below the other: input, forget, output, cell for the LSTM; reset, new,
update for the GRU. torch wants input, forget, cell, output and reset, update, new; `prepare` brings them into
that order once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from separation_coreml.mil.ops.registry import operation

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "linear": lambda x: x,
    "hard_sigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
    "sigmoid_hard": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(2 * x / 3),
}


def _reorder(names: tuple[str, ...], order: tuple[int, ...]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A `prepare` that puts the gates of the named weights into another order."""

    def prepare(constants: dict[str, Any]) -> dict[str, Any]:
        result = dict(constants)
        for name in names:
            if isinstance(result.get(name), Tensor):
                gates = result[name].chunk(len(order))
                result[name] = torch.cat([gates[place] for place in order])
        return result

    return prepare


def _all_or_last(sequence: Tensor, last: Tensor, output_sequence: bool) -> Tensor:
    return sequence if output_sequence else last[None]


@operation(
    "lstm",
    attributes=(
        "direction",
        "output_sequence",
        "recurrent_activation",
        "cell_activation",
        "activation",
        "clip",
    ),
    prepare=_reorder(
        ("weight_ih", "weight_hh", "bias", "weight_ih_back", "weight_hh_back", "bias_back"), (0, 1, 3, 2)
    ),
)
def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory: all steps or the last, then the last hidden and cell states.

    Shape:
        - x: [steps, batch, features]
        - initial_h, initial_c: [batch, directions * hidden]
    """
    activations = (recurrent_activation, cell_activation, activation)
    plain = activations == ("sigmoid", "tanh", "tanh") and clip is None
    run = _torch_lstm if plain and peephole is None and peephole_back is None else _lstm_by_step
    functions = [ACTIVATIONS[name] for name in activations]
    hidden = weight_hh.shape[1]
    passes = [(weight_ih, weight_hh, bias, peephole, direction == "reverse")]
    if direction == "bidirectional":
        assert weight_ih_back is not None
        assert weight_hh_back is not None
        passes.append((weight_ih_back, weight_hh_back, bias_back, peephole_back, True))
    results = []
    for place, (w_ih, w_hh, b, p, backwards) in enumerate(passes):
        part = slice(place * hidden, (place + 1) * hidden)
        steps = x.flip(0) if backwards else x
        out, h, c = run(steps, initial_h[:, part], initial_c[:, part], (w_ih, w_hh, b, p), functions, clip)
        results.append((out.flip(0) if backwards else out, h, c))
    sequence, last_h, last_c = (torch.cat(parts, -1) for parts in zip(*results, strict=True))
    return _all_or_last(sequence, last_h, output_sequence), last_h, last_c


Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def _torch_lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Weights,
    functions: list[Callable[[Tensor], Tensor]],
    clip: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    del functions, clip
    w_ih, w_hh, bias, _ = weights
    parameters = [w_ih, w_hh]
    if bias is not None:
        parameters += [bias, torch.zeros_like(bias)]
    states = (h[None].contiguous(), c[None].contiguous())
    out, last_h, last_c = torch.lstm(
        x.contiguous(), states, parameters, bias is not None, 1, 0.0, False, False, False
    )
    return out, last_h[0], last_c[0]


def _lstm_by_step(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Weights,
    functions: list[Callable[[Tensor], Tensor]],
    clip: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition, for activations, peepholes and clipping that torch's layer has not."""
    w_ih, w_hh, bias, peephole = weights
    gate, cell, final = functions
    inputs = x @ w_ih.T + (0 if bias is None else bias)
    p_i, p_f, p_o = peephole.chunk(3) if peephole is not None else (0, 0, 0)
    out = []
    for step in inputs:
        i, f, z, o = (step + h @ w_hh.T).chunk(4, -1)
        z = cell(z)
        if clip is not None:
            z = z.clamp(-clip, clip)
        c = gate(f + p_f * c) * c + gate(i + p_i * c) * z
        h = gate(o + p_o * c) * final(c)
        out.append(h)
    return torch.stack(out), h, c


@operation(
    "gru",
    attributes=("direction", "output_sequence", "recurrent_activation", "activation", "reset_after"),
    prepare=_reorder(("weight_ih", "weight_hh", "bias", "input_bias"), (0, 2, 1)),
)
def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = True,
    input_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gated recurrent unit: all steps or the last, then the last state."""
    backwards = direction == "reverse"
    gate, final = ACTIVATIONS[recurrent_activation], ACTIVATIONS[activation]
    steps = (x.flip(0) if backwards else x) @ weight_ih.T
    h, out = initial_h, []
    before, after = (bias, None) if input_bias is None else (input_bias, bias)
    if before is not None:
        steps = steps + before
    for step in steps:
        i_r, i_z, i_n = step.chunk(3, -1)
        recurrent = h @ weight_hh.T + (0 if after is None else after)
        h_r, h_z, h_n = recurrent.chunk(3, -1)
        r, z = gate(i_r + h_r), gate(i_z + h_z)
        if not reset_after:
            h_n = (r * h) @ weight_hh.chunk(3)[2].T
        n = final(i_n + (r * h_n if reset_after else h_n))
        h = (1 - z) * n + z * h
        out.append(h)
    sequence = torch.stack(out[::-1] if backwards else out)
    return _all_or_last(sequence, h, output_sequence), h


@operation("rnn", attributes=("direction", "output_sequence", "activation"))
def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """Plain recurrent layer: all steps or the last, then the last state."""
    backwards = direction == "reverse"
    function = ACTIVATIONS[activation]
    h, out = initial_h, []
    for step in (x.flip(0) if backwards else x) @ weight_ih.T + (0 if bias is None else bias):
        h = function(step + h @ weight_hh.T)
        out.append(h)
    sequence = torch.stack(out[::-1] if backwards else out)
    return _all_or_last(sequence, h, output_sequence), h
