"""Interpolation, quantised activations, recurrent layers, control flow: against torch or their definition."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from separation_coreml.mil.interpreter import CONTROL
from separation_coreml.mil.ops import OPERATIONS

pytest.importorskip("coremltools")
from coremltools.converters.mil.mil import Builder as mb

spec = importlib.util.spec_from_file_location("mil_harness", Path(__file__).with_name("mil_harness.py"))
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
case, values, rand, ints, Case = harness.case, harness.values, harness.rand, harness.ints, harness.Case

X, SEQ, IMAGE = rand(2, 3, 4, 5), rand(2, 4, 9), rand(1, 4, 6, 6)


def resizes():
    def to(kind, **parameters):
        return lambda x: F.interpolate(x, mode=kind, **parameters)

    yield case(
        "resize_nearest_neighbor",
        IMAGE,
        {"target_size_height": 9, "target_size_width": 4},
        to("nearest", size=(9, 4)),
    )
    yield case(
        "upsample_nearest_neighbor",
        IMAGE,
        {"scale_factor_height": 2, "scale_factor_width": 3},
        to("nearest", scale_factor=(2, 3)),
    )
    twice = {"scale_factor_height": 2, "scale_factor_width": 3}
    for aligned in (True, False):
        yield case(
            "upsample_bilinear",
            IMAGE,
            {**twice, "align_corners": aligned},
            label=str(aligned),
            expected=to("bilinear", scale_factor=(2, 3), align_corners=aligned),
        )
    # The points that coremltools' documentation lists for two elements read at five.
    line = np.float32([[[0.0, 1.0]]])
    for mode, points in {
        "UNALIGN_CORNERS": [0.0, 0.1, 0.5, 0.9, 1.0],
        "STRICT_ALIGN_CORNERS": [0.0, 0.25, 0.5, 0.75, 1.0],
        "ALIGN_CORNERS": [0.0, 0.25, 0.5, 0.75, 1.0],
        "DEFAULT": [0.0, 0.4, 0.8, 1.0, 1.0],
        "OFFSET_CORNERS": [0.1, 0.3, 0.5, 0.7, 0.9],
    }.items():
        size = {"target_size_height": 1, "target_size_width": 5, "sampling_mode": mode}
        yield case("resize_bilinear", line, size, lambda x, p=points: torch.tensor([[p]]), label=mode)
    wanted = {"shape": [9, 4], "resized_dims": np.uint32(2)}
    yield case(
        "resize",
        IMAGE,
        {**wanted, "sampling_mode": "UNALIGN_CORNERS"},
        to("bilinear", size=(9, 4), align_corners=False),
    )
    yield case(
        "resize",
        IMAGE,
        {**wanted, "interpolation_mode": "NEAREST_NEIGHBOR"},
        to("nearest", size=(9, 4)),
        label="nearest",
    )


def whole_numbers():
    scale, zero = np.float32([0.02, 0.5, 0.1]), np.int8([-3, 5, 0])

    def numbers(x):
        return (
            (x / torch.tensor(scale)[:, None, None])
            .round()
            .add(torch.tensor(zero)[:, None, None])
            .clamp(-128, 127)
        )

    parameters = {"scale": scale, "zero_point": zero, "axis": 1}
    yield case(
        "quantize", X, {**parameters, "output_dtype": "int8"}, lambda x: numbers(x).int(), first="input"
    )

    def back(x):
        return mb.dequantize(input=mb.quantize(input=x, output_dtype="int8", **parameters), **parameters)

    shifted = torch.tensor(zero)[:, None, None], torch.tensor(scale)[:, None, None]
    yield Case("dequantize", back, lambda x: (numbers(x) - shifted[0]) * shifted[1], (X,), folds=False)


def layers():
    steps, batch, size, hidden = 5, 2, 3, 4
    x, h, c = rand(steps, batch, size), rand(batch, hidden), rand(batch, hidden)

    def weights(gates, suffix=""):
        return {
            f"weight_ih{suffix}": rand(gates * hidden, size),
            f"weight_hh{suffix}": rand(gates * hidden, hidden),
            f"bias{suffix}": rand(gates * hidden),
        }

    def lstm(parameters, backwards, x, h, c, suffix="", activations=(torch.sigmoid, torch.tanh, torch.tanh)):
        w, r, b = (torch.tensor(parameters[f"{name}{suffix}"]) for name in ("weight_ih", "weight_hh", "bias"))
        p = [
            torch.tensor(v) for v in np.split(parameters.get("peephole", np.zeros(3 * hidden, np.float32)), 3)
        ]
        gate, cell, final = activations
        out = []
        for step in x.flip(0) if backwards else x:
            i, f, o, z = (step @ w.T + h @ r.T + b).chunk(4, -1)
            c_new = gate(f + p[1] * c) * c + gate(i + p[0] * c) * cell(z)
            h, c = gate(o + p[2] * c_new) * final(c_new), c_new
            out.append(h)
        return torch.stack(out[::-1] if backwards else out), h, c

    names = ("x", "initial_h", "initial_c")
    for direction in ("forward", "reverse"):
        p = weights(4)
        yield case(
            "lstm",
            (x, h, c),
            {**p, "direction": direction, "output_sequence": True},
            first=names,
            label=direction,
            expected=lambda *v, p=p, d=direction: lstm(p, d == "reverse", *v),
        )
    p = weights(4)
    yield case(
        "lstm",
        (x, h, c),
        p,
        first=names,
        label="last",
        expected=lambda *v, p=p: (lstm(p, False, *v)[1][None], *lstm(p, False, *v)[1:]),
    )
    special = {**weights(4), "peephole": rand(3 * hidden), "activation": "relu", "cell_activation": "sigmoid"}
    yield case(
        "lstm",
        (x, h, c),
        {**special, "output_sequence": True},
        first=names,
        label="peephole",
        expected=lambda *v: lstm(special, False, *v, activations=(torch.sigmoid, torch.sigmoid, torch.relu)),
    )
    both = {**weights(4), **weights(4, "_back")}

    def bidirectional(x, h, c):
        one = lstm(both, False, x, h[:, :hidden], c[:, :hidden])
        two = lstm(both, True, x, h[:, hidden:], c[:, hidden:], "_back")
        return [torch.cat(pair, -1) for pair in zip(one, two, strict=True)]

    wide = (x, rand(batch, 2 * hidden), rand(batch, 2 * hidden))
    yield case(
        "lstm",
        wide,
        {**both, "direction": "bidirectional", "output_sequence": True},
        bidirectional,
        first=names,
        label="both",
    )

    def gru(p, backwards, x, h):
        w, r, b = (torch.tensor(p[name]) for name in ("weight_ih", "weight_hh", "bias"))
        out = []
        for step in x.flip(0) if backwards else x:
            ir, io, iz = (step @ w.T + b).chunk(3, -1)
            hr, ho, hz = (h @ r.T).chunk(3, -1)
            z = torch.sigmoid(iz + hz)
            h = (1 - z) * torch.tanh(io + torch.sigmoid(ir + hr) * ho) + z * h
            out.append(h)
        return torch.stack(out[::-1] if backwards else out), h

    def rnn(p, backwards, x, h):
        layer = torch.nn.RNN(size, hidden)
        for name, value in zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"), p.values(), strict=True):
            getattr(layer, name).data = torch.tensor(value)
        layer.bias_hh_l0.data.zero_()
        out, last = layer(x.flip(0) if backwards else x, h[None])
        return (out.flip(0) if backwards else out).detach(), last[0].detach()

    for kind, gates, function in (("gru", 3, gru), ("rnn", 1, rnn)):
        for direction in ("forward", "reverse"):
            p = weights(gates)
            parameters = {**p, "direction": direction, "output_sequence": True}
            yield case(
                kind,
                (x, h),
                parameters,
                first=names[:2],
                label=direction,
                expected=lambda *v, p=p, d=direction, f=function: f(p, d == "reverse", *v),
            )


def control():
    def choose(flag, x):
        outer = mb.mul(x=x, y=2.0)
        return mb.cond(
            pred=flag, _true_fn=lambda: mb.add(x=outer, y=1.0), _false_fn=lambda: mb.sub(x=outer, y=1.0)
        )

    for flag in (True, False):
        yield Case(
            "cond",
            choose,
            lambda f, x: 2 * x + (1 if f else -1),
            (np.array(flag), X),
            label=str(flag),
            folds=False,
        )

    def loop(count, x):
        step = mb.add(x=x, y=1.0)
        return mb.while_loop(
            _cond=lambda i, _: mb.less(x=i, y=count),
            _body=lambda i, y: (mb.add(x=i, y=1), mb.add(x=y, y=step)),
            loop_vars=(np.int32(0), x),
        )

    yield Case("while_loop", loop, lambda n, x: (n, x + n * (x + 1)), (np.array(3, np.int32), X), folds=False)


CASES = [*resizes(), *whole_numbers(), *layers(), *control()]
GROUPS = {"resize", "quantization", "recurrent"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return harness.run_cases(CASES, tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.name)
def test_an_operation_gives_what_torch_does(item, ran):
    outputs, folded, _ = ran
    harness.check(item, outputs, folded)


def test_every_operation_of_these_groups_has_a_case(ran):
    _, _, kinds = ran
    assert {kind for kind, entry in OPERATIONS.items() if entry.group in GROUPS} | set(CONTROL) <= kinds
