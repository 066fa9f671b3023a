"""Operations that move data, recurrent layers and control flow: against torch, NumPy or their definition."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from separation_coreml.mil.interpreter import CONTROL
from separation_coreml.mil.ops import OPERATIONS

pytest.importorskip("coremltools")
from coremltools.converters.mil.mil import Builder as mb  # noqa: E402

spec = importlib.util.spec_from_file_location("mil_harness", Path(__file__).with_name("mil_harness.py"))
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
case, values, rand, ints, Case = harness.case, harness.values, harness.rand, harness.ints, harness.Case

X, SEQ, IMAGE = rand(2, 3, 4, 5), rand(2, 4, 9), rand(1, 4, 6, 6)


def shapes():
    yield case("transpose", X, {"perm": [2, 0, -1, 1]}, lambda x: x.permute(2, 0, 3, 1))
    yield case("reshape", X, {"shape": [6, -1]}, lambda x: x.reshape(6, 20))
    yield case("reshape", X, {"shape": [0, -1, 0]}, lambda x: x.reshape(3, 8, 5), label="zero")
    yield case("reshape", X, {"shape": [0, 0, 2, -1]}, lambda x: x.reshape(2, 3, 2, 10), label="zero", opset="iOS15")
    yield case("reshape", (X, np.int32([4, -1])), {}, lambda x, _: x.reshape(4, 30), label="computed",
               first=("x", "shape"), folds=False)  # fmt: skip
    yield Case(
        "reshape_like",
        lambda x, a, b: mb.reshape_like(
            x=x, ref_tensors=(a, b), begins=(0, -1), ends=(1, 0), end_masks=(False, True)
        ),
        lambda x, a, b: x.reshape(24, 5), (X, rand(24, 7), rand(3, 5)), folds=False,
    )  # fmt: skip
    yield case("expand_dims", SEQ, {"axes": [0, -1]}, lambda x: x[None, ..., None])
    yield case("squeeze", IMAGE, {"axes": [0]}, lambda x: x.squeeze(0))
    yield case("squeeze", rand(1, 3, 1), {}, lambda x: x.squeeze(), label="all")
    yield case("flatten2d", X, {"axis": 2}, lambda x: x.reshape(6, 20))
    yield case("identity", X, {}, lambda x: x)
    pair = (rand(2, 3, 4), rand(2, 5, 4))
    yield values("concat", pair, {"axis": -2}, lambda *v: torch.cat(v, 1))
    pair = (rand(2, 3, 4), rand(2, 3, 4))
    yield values("concat", pair, {"axis": 1, "interleave": True}, label="turns", folds=False,
                 expected=lambda a, b: torch.stack((a, b), 2).reshape(2, 6, 4))  # fmt: skip
    yield values("stack", pair, {"axis": -1}, lambda *v: torch.stack(v, -1), folds=False)
    yield case("split", X, {"num_splits": 2, "axis": 2}, lambda x: x.chunk(2, 2))
    yield case("split", X, {"split_sizes": [1, 4], "axis": -1}, lambda x: x.split([1, 4], -1), label="sizes")
    yield case("tile", X, {"reps": [1, 2, 1, 3]}, lambda x: x.repeat(1, 2, 1, 3))
    yield case("reverse", X, {"axes": [1, -1]}, lambda x: x.flip(1, 3))
    yield case("reverse", X, {}, lambda x: x.flip(0, 1, 2, 3), label="all")
    yield case("reverse_sequence", SEQ, {"lengths": np.int32([3, 9]), "seq_axis": 2, "batch_axis": 0},
               lambda x: torch.stack((torch.cat((x[0, :, :3].flip(1), x[0, :, 3:]), 1), x[1].flip(1))),
               folds=False)  # fmt: skip
    yield case("sliding_windows", SEQ, {"axis": 1, "size": 3, "stride": 1}, folds=False,
               expected=lambda x: torch.stack((x[:, 0:3], x[:, 1:4]), 1))  # fmt: skip
    yield case("pixel_shuffle", IMAGE, {"upscale_factor": 2}, lambda x: F.pixel_shuffle(x, 2))
    yield case("pixel_unshuffle", IMAGE, {"downscale_factor": np.uint32(2)}, lambda x: F.pixel_unshuffle(x, 2))
    # Block place slowest: the channel order of TensorFlow, unlike torch's pixel_shuffle.
    deep = rand(1, 8, 2, 3)
    yield case("depth_to_space", deep, {"block_size": 2},
               lambda x: F.pixel_shuffle(x.reshape(1, 4, 2, 2, 3).transpose(1, 2).reshape(1, 8, 2, 3), 2))  # fmt: skip
    yield case("space_to_depth", IMAGE, {"block_size": 2},
               lambda x: F.pixel_unshuffle(x, 2).reshape(1, 4, 4, 3, 3).transpose(1, 2).reshape(1, 16, 3, 3))  # fmt: skip
    blocks = np.int32([2, 3])
    none = np.zeros((2, 2), np.int32)
    yield case("space_to_batch", IMAGE, {"block_shape": blocks, "paddings": none}, folds=False,
               expected=lambda x: torch.cat([x[..., i::2, j::3] for i in range(2) for j in range(3)]))  # fmt: skip

    def interleaved(x):
        out = torch.zeros(1, 4, 4, 6)
        for place in range(6):
            out[0, :, place // 3 :: 2, place % 3 :: 3] = x[place]
        return out[:, :, 1:, :5]

    crops = {"block_shape": blocks, "crops": np.int32([[1, 0], [0, 1]])}
    yield case("batch_to_space", rand(6, 4, 2, 2), crops, interleaved, folds=False)


def slices():
    yield case("slice_by_index", X, {"begin": [0, -2, 1, 0], "end": [2, 3, 4, 5], "stride": [1, 1, 2, 3]},
               lambda x: x[:, -2:, 1:4:2, ::3])  # fmt: skip
    masks = {
        "begin": [1, 0, 9, 0], "end": [0, 0, 9, -1], "begin_mask": [False, True, True, False],
        "end_mask": [False, True, True, False], "squeeze_mask": [True, False, False, False],
    }  # fmt: skip
    yield case("slice_by_index", X, masks, lambda x: x[1, :, :, :-1], label="masks")
    backwards = {"begin": [0, -1, 0], "end": [2, 0, 0], "stride": [1, -1, -2],
                 "begin_mask": [False, False, True], "end_mask": [False, True, True]}  # fmt: skip
    yield case("slice_by_index", SEQ, backwards, lambda x: x.flip(1, 2)[:, :, ::2], label="back", opset="iOS18")
    yield case("slice_by_size", SEQ, {"begin": [0, 1, 2], "size": [2, -1, 3]}, lambda x: x[:, 1:, 2:5])

    def updated(x, u):
        x = x.clone()
        x[:, 1, 2:8:2] = u
        return x

    where = {"begin": [0, 1, 2], "end": [2, 0, 8], "stride": [1, 1, 2], "squeeze_mask": [False, True, False]}
    yield case("slice_update", (SEQ, rand(2, 3)), where, updated, first=("x", "update"), opset="iOS18", folds=False)
    yield case("crop", IMAGE, {"crop_height": [1, 2], "crop_width": [0, 3]}, lambda x: x[..., 1:-2, :3])
    yield case("pad", X, {"pad": [1, 0, 2, 3], "constant_val": np.float32(7)}, lambda x: F.pad(x, (2, 3, 1, 0), value=7))
    yield case("pad", SEQ, {"pad": [0, 0, 3, 2], "mode": "reflect"}, lambda x: F.pad(x, (3, 2), "reflect"), label="mirror")
    yield case("pad", IMAGE, {"pad": [2, 1, 3, 0], "mode": "reflect"}, lambda x: F.pad(x, (3, 0, 2, 1), "reflect"), label="two")
    yield case("pad", X, {"pad": [1, 2, 0, 1], "mode": "replicate"}, lambda x: F.pad(x, (0, 1, 1, 2), "replicate"), label="edge")


def gathers():
    index = np.int32([2, 0, -1])
    yield case("gather", X, {"indices": np.int32([[1, 0], [2, 2]]), "axis": 1}, lambda x: x[:, [[1, 0], [2, 2]]])
    yield case("gather", (X, index), {"axis": 2}, lambda x, i: x[:, :, i.long()], first=("x", "indices"), label="computed", folds=False)
    yield case("gather", X, {"indices": np.int32([[0, 2], [1, 1]]), "axis": 1, "batch_dims": 1}, label="batch", opset="iOS16",
               expected=lambda x: torch.stack((x[0, [0, 2]], x[1, [1, 1]])))  # fmt: skip
    places = ints(2, 3, 2, 5, high=4)
    yield case("gather_along_axis", X, {"indices": places, "axis": 2}, lambda x: x.gather(2, torch.tensor(places).long()))
    pairs = np.int32([[0, 2], [1, -1], [0, 0]])
    yield case("gather_nd", X, {"indices": pairs}, lambda x: x[[0, 1, 0], [2, -1, 0]])
    yield case("gather_nd", X, {"indices": np.int32([[[1]], [[2]]]), "batch_dims": 1}, label="batch", opset="iOS16",
               expected=lambda x: torch.stack((x[0, 1], x[1, 2]))[:, None])  # fmt: skip
    combine = {
        "update": lambda a, b: b, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
        "max": np.maximum, "min": np.minimum,
    }  # fmt: skip
    for mode, function in combine.items():

        def rows(data, update, function=function):
            out = data.numpy().copy()
            for place, row in zip((3, 1), update.numpy().swapaxes(0, 1), strict=True):
                out[:, place] = function(out[:, place], row)
            return torch.tensor(out)

        def points(data, update, function=function):
            out = data.numpy().copy()
            for place, row in zip(((1, 2), (0, 3)), update.numpy(), strict=True):
                out[place] = function(out[place], row)
            return torch.tensor(out)

        both, options = ("data", "updates"), {"label": mode, "folds": False}
        where = {"indices": np.int32([3, 1]), "axis": 1, "mode": mode}
        yield case("scatter", (SEQ, rand(2, 2, 9)), where, rows, first=both, **options)
        along = np.broadcast_to(np.int32([3, 1])[None, :, None], (2, 2, 9)).copy()
        where = {"indices": along, "axis": 1, "mode": mode}
        yield case("scatter_along_axis", (SEQ, rand(2, 2, 9)), where, rows, first=both, **options)
        where = {"indices": np.int32([[1, 2], [0, 3]]), "mode": mode}
        yield case("scatter_nd", (SEQ, rand(2, 9)), where, points, first=both, **options)


def makers():
    yield case("shape", X, {}, lambda x: torch.tensor(x.shape))
    yield case("fill", np.int32([2, 3]), {"value": np.float32(1.5)}, lambda s: torch.full((2, 3), 1.5), first="shape", folds=False)
    yield case("fill_like", X, {"value": np.int32(4)}, lambda x: torch.full(x.shape, 4), first="ref_tensor", folds=False)
    yield case("range_1d", np.array(9, np.int32), {"start": 1, "step": 3}, lambda e: torch.tensor([1, 4, 7]), first="end", folds=False)
    yield case("one_hot", np.int32([2, 0]), {"one_hot_vector_size": 4, "axis": 0, "on_value": 2.0, "off_value": -1.0}, first="indices",
               expected=lambda i: F.one_hot(i.long(), 4).T * 3.0 - 1)  # fmt: skip
    yield case("non_zero", np.float32([[0, 1], [2, 0]]), {}, torch.nonzero, folds=False)
    yield case("band_part", X, {"lower": 1, "upper": 0}, lambda x: x.tril(0).triu(-1))
    yield case("band_part", X, {"lower": 0, "upper": -1}, lambda x: x.triu(), label="upper")


def resizes():
    def to(kind, **parameters):
        return lambda x: F.interpolate(x, mode=kind, **parameters)

    yield case("resize_nearest_neighbor", IMAGE, {"target_size_height": 9, "target_size_width": 4}, to("nearest", size=(9, 4)))
    yield case("upsample_nearest_neighbor", IMAGE, {"scale_factor_height": 2, "scale_factor_width": 3}, to("nearest", scale_factor=(2, 3)))
    twice = {"scale_factor_height": 2, "scale_factor_width": 3}
    for aligned in (True, False):
        yield case("upsample_bilinear", IMAGE, {**twice, "align_corners": aligned}, label=str(aligned),
                   expected=to("bilinear", scale_factor=(2, 3), align_corners=aligned))  # fmt: skip
    # The points that coremltools' documentation lists for two elements read at five.
    line = np.float32([[[0.0, 1.0]]])
    for mode, points in {
        "UNALIGN_CORNERS": [0.0, 0.1, 0.5, 0.9, 1.0], "STRICT_ALIGN_CORNERS": [0.0, 0.25, 0.5, 0.75, 1.0],
        "ALIGN_CORNERS": [0.0, 0.25, 0.5, 0.75, 1.0], "DEFAULT": [0.0, 0.4, 0.8, 1.0, 1.0],
        "OFFSET_CORNERS": [0.1, 0.3, 0.5, 0.7, 0.9],
    }.items():  # fmt: skip
        size = {"target_size_height": 1, "target_size_width": 5, "sampling_mode": mode}
        yield case("resize_bilinear", line, size, lambda x, p=points: torch.tensor([[p]]), label=mode)
    wanted = {"shape": [9, 4], "resized_dims": np.uint32(2)}
    yield case("resize", IMAGE, {**wanted, "sampling_mode": "UNALIGN_CORNERS"}, to("bilinear", size=(9, 4), align_corners=False))
    yield case("resize", IMAGE, {**wanted, "interpolation_mode": "NEAREST_NEIGHBOR"}, to("nearest", size=(9, 4)), label="nearest")


def whole_numbers():
    scale, zero = np.float32([0.02, 0.5, 0.1]), np.int8([-3, 5, 0])

    def numbers(x):
        return (x / torch.tensor(scale)[:, None, None]).round().add(torch.tensor(zero)[:, None, None]).clamp(-128, 127)

    parameters = {"scale": scale, "zero_point": zero, "axis": 1}
    yield case("quantize", X, {**parameters, "output_dtype": "int8"}, lambda x: numbers(x).int(), first="input")

    def back(x):
        return mb.dequantize(input=mb.quantize(input=x, output_dtype="int8", **parameters), **parameters)

    shifted = torch.tensor(zero)[:, None, None], torch.tensor(scale)[:, None, None]
    yield Case("dequantize", back, lambda x: (numbers(x) - shifted[0]) * shifted[1], (X,), folds=False)


def layers():
    steps, batch, size, hidden = 5, 2, 3, 4
    x, h, c = rand(steps, batch, size), rand(batch, hidden), rand(batch, hidden)

    def weights(gates, suffix=""):
        return {f"weight_ih{suffix}": rand(gates * hidden, size), f"weight_hh{suffix}": rand(gates * hidden, hidden),
                f"bias{suffix}": rand(gates * hidden)}  # fmt: skip

    def lstm(parameters, backwards, x, h, c, suffix="", activations=(torch.sigmoid, torch.tanh, torch.tanh)):
        w, r, b = (torch.tensor(parameters[f"{name}{suffix}"]) for name in ("weight_ih", "weight_hh", "bias"))
        p = [torch.tensor(v) for v in np.split(parameters.get("peephole", np.zeros(3 * hidden, np.float32)), 3)]
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
        yield case("lstm", (x, h, c), {**p, "direction": direction, "output_sequence": True}, first=names, label=direction,
                   expected=lambda *v, p=p, d=direction: lstm(p, d == "reverse", *v))  # fmt: skip
    p = weights(4)
    yield case("lstm", (x, h, c), p, first=names, label="last",
               expected=lambda *v, p=p: (lstm(p, False, *v)[1][None], *lstm(p, False, *v)[1:]))  # fmt: skip
    special = {**weights(4), "peephole": rand(3 * hidden), "activation": "relu", "cell_activation": "sigmoid"}
    yield case("lstm", (x, h, c), {**special, "output_sequence": True}, first=names, label="peephole",
               expected=lambda *v: lstm(special, False, *v, activations=(torch.sigmoid, torch.sigmoid, torch.relu)))  # fmt: skip
    both = {**weights(4), **weights(4, "_back")}

    def bidirectional(x, h, c):
        one = lstm(both, False, x, h[:, :hidden], c[:, :hidden])
        two = lstm(both, True, x, h[:, hidden:], c[:, hidden:], "_back")
        return [torch.cat(pair, -1) for pair in zip(one, two, strict=True)]

    wide = (x, rand(batch, 2 * hidden), rand(batch, 2 * hidden))
    yield case("lstm", wide, {**both, "direction": "bidirectional", "output_sequence": True}, bidirectional, first=names, label="both")

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
            yield case(kind, (x, h), parameters, first=names[:2], label=direction,
                       expected=lambda *v, p=p, d=direction, f=function: f(p, d == "reverse", *v))  # fmt: skip


def control():
    def choose(flag, x):
        outer = mb.mul(x=x, y=2.0)
        return mb.cond(
            pred=flag, _true_fn=lambda: mb.add(x=outer, y=1.0), _false_fn=lambda: mb.sub(x=outer, y=1.0)
        )

    for flag in (True, False):
        yield Case("cond", choose, lambda f, x: 2 * x + (1 if f else -1), (np.array(flag), X), label=str(flag), folds=False)

    def loop(count, x):
        step = mb.add(x=x, y=1.0)
        return mb.while_loop(
            _cond=lambda i, _: mb.less(x=i, y=count), _body=lambda i, y: (mb.add(x=i, y=1), mb.add(x=y, y=step)),
            loop_vars=(np.int32(0), x),
        )  # fmt: skip

    yield Case("while_loop", loop, lambda n, x: (n, x + n * (x + 1)), (np.array(3, np.int32), X), folds=False)


CASES = [
    *shapes(), *slices(), *gathers(), *makers(), *resizes(), *whole_numbers(), *layers(), *control(),
]  # fmt: skip
GROUPS = {"shape", "slicing", "gather_scatter", "tensor", "resize", "quantization", "recurrent"}


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
