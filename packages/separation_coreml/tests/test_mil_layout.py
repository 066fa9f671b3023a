"""Operations that move data: each against torch or NumPy, and against coremltools' own folding."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from separation_coreml.mil.ops import OPERATIONS

pytest.importorskip("coremltools")
from coremltools.converters.mil.mil import Builder as mb

spec = importlib.util.spec_from_file_location("mil_harness", Path(__file__).with_name("mil_harness.py"))
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
case, values, rand, ints, Case = harness.case, harness.values, harness.rand, harness.ints, harness.Case

X, SEQ, IMAGE = rand(2, 3, 4, 5), rand(2, 4, 9), rand(1, 4, 6, 6)


def shapes():
    yield case("transpose", X, {"perm": [2, 0, -1, 1]}, lambda x: x.permute(2, 0, 3, 1))
    yield case("reshape", X, {"shape": [6, -1]}, lambda x: x.reshape(6, 20))
    yield case("reshape", X, {"shape": [0, -1, 0]}, lambda x: x.reshape(3, 8, 5), label="zero")
    yield case(
        "reshape", X, {"shape": [0, 0, 2, -1]}, lambda x: x.reshape(2, 3, 2, 10), label="zero", opset="iOS15"
    )
    yield case(
        "reshape",
        (X, np.int32([4, -1])),
        {},
        lambda x, _: x.reshape(4, 30),
        label="computed",
        first=("x", "shape"),
        folds=False,
    )
    yield Case(
        "reshape_like",
        lambda x, a, b: mb.reshape_like(
            x=x, ref_tensors=(a, b), begins=(0, -1), ends=(1, 0), end_masks=(False, True)
        ),
        lambda x, a, b: x.reshape(24, 5),
        (X, rand(24, 7), rand(3, 5)),
        folds=False,
    )
    one = {"begins": (0,), "ends": (2,), "end_masks": (False,)}
    yield Case(
        "reshape_like",
        lambda x, a: mb.reshape_like(x=x, ref_tensors=(a,), **one),
        lambda x, a: x.reshape(24, 5),
        (X, rand(24, 5)),
        folds=False,
        label="one",
    )
    yield case("expand_dims", SEQ, {"axes": [0, -1]}, lambda x: x[None, ..., None])
    yield case("squeeze", IMAGE, {"axes": [0]}, lambda x: x.squeeze(0))
    yield case("squeeze", rand(1, 3, 1), {}, lambda x: x.squeeze(), label="all")
    yield case("flatten2d", X, {"axis": 2}, lambda x: x.reshape(6, 20))
    yield case("identity", X, {}, lambda x: x)
    pair = (rand(2, 3, 4), rand(2, 5, 4))
    yield values("concat", pair, {"axis": -2}, lambda *v: torch.cat(v, 1))
    pair = (rand(2, 3, 4), rand(2, 3, 4))
    yield values(
        "concat",
        pair,
        {"axis": 1, "interleave": True},
        label="turns",
        folds=False,
        expected=lambda a, b: torch.stack((a, b), 2).reshape(2, 6, 4),
    )
    yield values("stack", pair, {"axis": -1}, lambda *v: torch.stack(v, -1), folds=False)
    yield case("split", X, {"num_splits": 2, "axis": 2}, lambda x: x.chunk(2, 2))
    yield case("split", X, {"split_sizes": [1, 4], "axis": -1}, lambda x: x.split([1, 4], -1), label="sizes")
    yield case("tile", X, {"reps": [1, 2, 1, 3]}, lambda x: x.repeat(1, 2, 1, 3))
    yield case("reverse", X, {"axes": [1, -1]}, lambda x: x.flip(1, 3))
    yield case("reverse", X, {}, lambda x: x.flip(0, 1, 2, 3), label="all")
    yield case(
        "reverse_sequence",
        SEQ,
        {"lengths": np.int32([3, 9]), "seq_axis": 2, "batch_axis": 0},
        lambda x: torch.stack((torch.cat((x[0, :, :3].flip(1), x[0, :, 3:]), 1), x[1].flip(1))),
        folds=False,
    )
    yield case(
        "sliding_windows",
        SEQ,
        {"axis": 1, "size": 3, "stride": 1},
        folds=False,
        expected=lambda x: torch.stack((x[:, 0:3], x[:, 1:4]), 1),
    )
    yield case("pixel_shuffle", IMAGE, {"upscale_factor": 2}, lambda x: F.pixel_shuffle(x, 2))
    yield case(
        "pixel_unshuffle", IMAGE, {"downscale_factor": np.uint32(2)}, lambda x: F.pixel_unshuffle(x, 2)
    )
    # Block place slowest: the channel order of TensorFlow, unlike torch's pixel_shuffle.
    deep = rand(1, 8, 2, 3)
    yield case(
        "depth_to_space",
        deep,
        {"block_size": 2},
        lambda x: F.pixel_shuffle(x.reshape(1, 4, 2, 2, 3).transpose(1, 2).reshape(1, 8, 2, 3), 2),
    )
    yield case(
        "space_to_depth",
        IMAGE,
        {"block_size": 2},
        lambda x: F.pixel_unshuffle(x, 2).reshape(1, 4, 4, 3, 3).transpose(1, 2).reshape(1, 16, 3, 3),
    )
    blocks = np.int32([2, 3])
    none = np.zeros((2, 2), np.int32)
    yield case(
        "space_to_batch",
        IMAGE,
        {"block_shape": blocks, "paddings": none},
        folds=False,
        expected=lambda x: torch.cat([x[..., i::2, j::3] for i in range(2) for j in range(3)]),
    )

    def interleaved(x):
        out = torch.zeros(1, 4, 4, 6)
        for place in range(6):
            out[0, :, place // 3 :: 2, place % 3 :: 3] = x[place]
        return out[:, :, 1:, :5]

    crops = {"block_shape": blocks, "crops": np.int32([[1, 0], [0, 1]])}
    yield case("batch_to_space", rand(6, 4, 2, 2), crops, interleaved, folds=False)


def slices():
    yield case(
        "slice_by_index",
        X,
        {"begin": [0, -2, 1, 0], "end": [2, 3, 4, 5], "stride": [1, 1, 2, 3]},
        lambda x: x[:, -2:, 1:4:2, ::3],
    )
    masks = {
        "begin": [1, 0, 9, 0],
        "end": [0, 0, 9, -1],
        "begin_mask": [False, True, True, False],
        "end_mask": [False, True, True, False],
        "squeeze_mask": [True, False, False, False],
    }
    yield case("slice_by_index", X, masks, lambda x: x[1, :, :, :-1], label="masks")
    backwards = {
        "begin": [0, -1, 0],
        "end": [2, 0, 0],
        "stride": [1, -1, -2],
        "begin_mask": [False, False, True],
        "end_mask": [False, True, True],
    }
    yield case(
        "slice_by_index", SEQ, backwards, lambda x: x.flip(1, 2)[:, :, ::2], label="back", opset="iOS18"
    )
    yield case("slice_by_size", SEQ, {"begin": [0, 1, 2], "size": [2, -1, 3]}, lambda x: x[:, 1:, 2:5])

    def updated(x, u):
        x = x.clone()
        x[:, 1, 2:8:2] = u
        return x

    where = {"begin": [0, 1, 2], "end": [2, 0, 8], "stride": [1, 1, 2], "squeeze_mask": [False, True, False]}
    yield case(
        "slice_update", (SEQ, rand(2, 3)), where, updated, first=("x", "update"), opset="iOS18", folds=False
    )
    yield case("crop", IMAGE, {"crop_height": [1, 2], "crop_width": [0, 3]}, lambda x: x[..., 1:-2, :3])
    yield case(
        "pad",
        X,
        {"pad": [1, 0, 2, 3], "constant_val": np.float32(7)},
        lambda x: F.pad(x, (2, 3, 1, 0), value=7),
    )
    yield case(
        "pad",
        SEQ,
        {"pad": [0, 0, 3, 2], "mode": "reflect"},
        lambda x: F.pad(x, (3, 2), "reflect"),
        label="mirror",
    )
    yield case(
        "pad",
        IMAGE,
        {"pad": [2, 1, 3, 0], "mode": "reflect"},
        lambda x: F.pad(x, (3, 0, 2, 1), "reflect"),
        label="two",
    )
    yield case(
        "pad",
        X,
        {"pad": [1, 2, 0, 1], "mode": "replicate"},
        lambda x: F.pad(x, (0, 1, 1, 2), "replicate"),
        label="edge",
    )


def gathers():
    index = np.int32([2, 0, -1])
    yield case(
        "gather", X, {"indices": np.int32([[1, 0], [2, 2]]), "axis": 1}, lambda x: x[:, [[1, 0], [2, 2]]]
    )
    yield case(
        "gather",
        (X, index),
        {"axis": 2},
        lambda x, i: x[:, :, i.long()],
        first=("x", "indices"),
        label="computed",
        folds=False,
    )
    yield case(
        "gather",
        X,
        {"indices": np.int32([[0, 2], [1, 1]]), "axis": 1, "batch_dims": 1},
        label="batch",
        opset="iOS16",
        expected=lambda x: torch.stack((x[0, [0, 2]], x[1, [1, 1]])),
    )
    places = ints(2, 3, 2, 5, high=4)
    yield case(
        "gather_along_axis",
        X,
        {"indices": places, "axis": 2},
        lambda x: x.gather(2, torch.tensor(places).long()),
    )
    pairs = np.int32([[0, 2], [1, -1], [0, 0]])
    yield case("gather_nd", X, {"indices": pairs}, lambda x: x[[0, 1, 0], [2, -1, 0]])
    yield case(
        "gather_nd",
        X,
        {"indices": np.int32([[[1]], [[2]]]), "batch_dims": 1},
        label="batch",
        opset="iOS16",
        expected=lambda x: torch.stack((x[0, 1], x[1, 2]))[:, None],
    )
    combine = {
        "update": lambda a, b: b,
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "max": np.maximum,
        "min": np.minimum,
    }
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
    yield case(
        "fill",
        np.int32([2, 3]),
        {"value": np.float32(1.5)},
        lambda s: torch.full((2, 3), 1.5),
        first="shape",
        folds=False,
    )
    yield case(
        "fill_like",
        X,
        {"value": np.int32(4)},
        lambda x: torch.full(x.shape, 4),
        first="ref_tensor",
        folds=False,
    )
    yield case(
        "range_1d",
        np.array(9, np.int32),
        {"start": 1, "step": 3},
        lambda e: torch.tensor([1, 4, 7]),
        first="end",
        folds=False,
    )
    yield case(
        "one_hot",
        np.int32([2, 0]),
        {"one_hot_vector_size": 4, "axis": 0, "on_value": 2.0, "off_value": -1.0},
        first="indices",
        expected=lambda i: F.one_hot(i.long(), 4).T * 3.0 - 1,
    )
    yield case("non_zero", np.float32([[0, 1], [2, 0]]), {}, torch.nonzero, folds=False)
    yield case("band_part", X, {"lower": 1, "upper": 0}, lambda x: x.tril(0).triu(-1))
    yield case("band_part", X, {"lower": 0, "upper": -1}, lambda x: x.triu(), label="upper")


CASES = [*shapes(), *slices(), *gathers(), *makers()]
GROUPS = {"shape", "slicing", "gather_scatter", "tensor"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return harness.run_cases(CASES, tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.name)
def test_an_operation_gives_what_torch_does(item, ran):
    outputs, folded, _ = ran
    harness.check(item, outputs, folded)


def test_every_operation_of_these_groups_has_a_case(ran):
    _, _, kinds = ran
    assert {kind for kind, entry in OPERATIONS.items() if entry.group in GROUPS} <= kinds
