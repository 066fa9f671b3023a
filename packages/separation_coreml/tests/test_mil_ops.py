"""Operations that compute: each against torch (or NumPy), and against coremltools' own folding."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from separation_coreml.mil.ops import OPERATIONS

pytest.importorskip("coremltools")
spec = importlib.util.spec_from_file_location("mil_harness", Path(__file__).with_name("mil_harness.py"))
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
case, values, rand, ints = harness.case, harness.values, harness.rand, harness.ints

X, POSITIVE = rand(2, 3, 4, 5), rand(2, 3, 4, 5, low=0.1, high=0.9)
SEQ, IMAGE, WIDE = rand(2, 4, 9), rand(1, 4, 5, 6), rand(2, 3, 8)
GAMMA, BETA, MEAN, VAR = rand(3), rand(3), rand(3), rand(3, low=0.5, high=1.5)
ALPHA = np.float32(0.3)
EPS = np.float32(1e-3)


def elementwise():
    simple = [
        "ceil",
        "cos",
        "cosh",
        "erf",
        "exp",
        "exp2",
        "floor",
        "round",
        "sign",
        "sin",
        "sinh",
        "square",
        "tan",
        "tanh",
        "atan",
        "abs",
    ]
    for kind in simple:
        yield case(kind, X, {}, getattr(torch, kind))
    for kind in ("acos", "asin", "atanh", "sqrt"):
        yield case(kind, POSITIVE, {}, getattr(torch, kind))
    yield case("round", np.float32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]), {}, torch.round, label="halves")
    yield case("abs", ints(4, low=-5), {}, torch.abs, label="int")
    yield case("logical_not", X > 0, {}, torch.logical_not)
    yield case("log", POSITIVE, {"epsilon": EPS}, lambda x: torch.log(x + 1e-3))
    yield case("log", POSITIVE, {}, torch.log, label="default")
    yield case("rsqrt", POSITIVE, {"epsilon": EPS}, lambda x: 1 / torch.sqrt(x + 1e-3))
    yield case("inverse", POSITIVE, {"epsilon": EPS}, lambda x: 1 / (x + 1e-3))
    yield case("clip", X, {"alpha": -0.5, "beta": 0.7}, lambda x: x.clamp(-0.5, 0.7))
    yield case("threshold", X, {"alpha": ALPHA}, lambda x: x.clamp(min=0.3))
    yield case("cast", X, {"dtype": "int32"}, lambda x: x.trunc().int(), label="cut")
    yield case("cast", X, {"dtype": "bool"}, lambda x: x != 0, label="bool")
    yield case("cast", ints(5), {"dtype": "fp32"}, lambda x: x.float(), label="float")
    yield case("cast", X, {"dtype": "fp16"}, lambda x: x.half().float(), label="half")
    two = {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "real_div": torch.div,
        "maximum": torch.maximum,
        "minimum": torch.minimum,
        "mod": torch.remainder,
        "floor_div": torch.floor_divide,
        "greater": torch.gt,
        "greater_equal": torch.ge,
        "less": torch.lt,
        "less_equal": torch.le,
        "equal": torch.eq,
        "not_equal": torch.ne,
    }
    for kind, function in two.items():
        yield case(kind, (X, rand(3, 1, 5)), {}, function, first=("x", "y"))
        if kind != "real_div":
            pair = (ints(4, 6, low=-7, high=7), ints(6, low=1))
            yield case(kind, pair, {}, function, first=("x", "y"), label="int")
    yield case("pow", (POSITIVE, rand(5)), {}, torch.pow, first=("x", "y"))
    for kind in ("logical_and", "logical_or", "logical_xor"):
        yield case(kind, (X > 0, rand(5) > 0), {}, getattr(torch, kind), first=("x", "y"))
    yield case("select", (X > 0, X, -2 * X), {}, torch.where, first=("cond", "a", "b"))


def activations():
    for kind in ("relu", "relu6", "sigmoid", "silu", "softplus", "softsign"):
        yield case(kind, 4 * X, {}, getattr(F, kind))
    two = {"alpha": ALPHA, "beta": np.float32(0.8)}
    yield case("clamped_relu", X, two, lambda x: torch.where(x >= 0, x, 0.3 * x).clamp(max=0.8))
    yield case("linear_activation", X, two, lambda x: 0.3 * x + 0.8)
    yield case("scaled_tanh", X, two, lambda x: 0.3 * torch.tanh(0.8 * x))
    yield case("sigmoid_hard", X, two, lambda x: (0.3 * x + 0.8).clamp(0, 1))
    yield case("leaky_relu", X, {"alpha": ALPHA}, lambda x: F.leaky_relu(x, 0.3))
    yield case("elu", X, {"alpha": ALPHA}, lambda x: F.elu(x, 0.3))
    yield case("thresholded_relu", X, {"alpha": ALPHA}, lambda x: F.threshold(x, 0.3, 0.0))
    yield case("prelu", X, {"alpha": GAMMA}, lambda x: F.prelu(x, torch.tensor(GAMMA)))
    yield case(
        "softplus_parametric",
        X,
        {"alpha": GAMMA, "beta": BETA},
        lambda x: torch.tensor(GAMMA)[:, None, None] * F.softplus(torch.tensor(BETA)[:, None, None] * x),
    )
    yield case("gelu", X, {"mode": "EXACT"}, F.gelu)
    yield case(
        "gelu", X, {"mode": "TANH_APPROXIMATION"}, lambda x: F.gelu(x, approximate="tanh"), label="tanh"
    )
    yield case(
        "gelu", X, {"mode": "SIGMOID_APPROXIMATION"}, lambda x: x * torch.sigmoid(1.702 * x), label="sig"
    )
    yield case("softmax", X, {"axis": 1}, lambda x: x.softmax(1))


def products():
    weight, bias = rand(7, 5), rand(7)
    yield case(
        "linear",
        rand(3, 5),
        {"weight": weight, "bias": bias},
        lambda x: F.linear(x, torch.tensor(weight), torch.tensor(bias)),
    )
    pair = (rand(2, 1, 4, 5), rand(3, 6, 5))
    yield case("matmul", pair, {"transpose_y": True}, lambda x, y: x @ y.mT, first=("x", "y"))
    pair = (rand(2, 5, 4), rand(2, 5, 3))
    yield case("matmul", pair, {"transpose_x": True}, lambda x, y: x.mT @ y, first=("x", "y"), label="left")
    yield case("matmul", (ints(3, 4), ints(4, 2)), {}, torch.matmul, first=("x", "y"), label="int")
    pair = (rand(2, 3, 4, 5), rand(2, 5, 4, 6))
    yield values(
        "einsum", pair, {"equation": "nchw,nwhu->nchu"}, lambda x, y: torch.einsum("nchw,nwhu->nchu", x, y)
    )
    pair = (rand(3, 4, 5), rand(5, 1, 6))
    yield values(
        "einsum",
        pair,
        {"equation": "chw,whr->chr"},
        lambda x, y: torch.einsum("chw,whr->chr", x, y.expand(5, 4, 6)),
        label="3",
        folds=False,
    )
    qkv = (rand(2, 3, 4, 8), rand(2, 3, 6, 8), rand(2, 3, 6, 5))
    names = ("query", "key", "value")

    def attention(q, k, v, mask=0.0):
        return torch.softmax(q @ k.mT / math.sqrt(8) + mask, -1) @ v

    kind = "scaled_dot_product_attention"
    yield case(kind, qkv, {}, attention, first=names, opset="iOS18")
    mask = np.tril(np.ones((4, 6), bool))
    yield case(
        kind,
        qkv,
        {"attn_mask": mask},
        label="mask",
        first=names,
        opset="iOS18",
        expected=lambda q, k, v: attention(q, k, v, torch.tensor(np.where(mask, 0, -np.inf).astype("f"))),
    )


def convolutions():
    for label, x, shape, settings, pads in (
        ("plain", SEQ, (6, 4, 3), {}, (0, 0)),
        ("custom", SEQ, (6, 4, 3), {"pad_type": "custom", "pad": [2, 1], "strides": [2]}, (2, 1)),
        ("even", SEQ, (6, 4, 3), {"pad_type": "custom", "pad": [2, 2], "dilations": [2]}, (2, 2)),
        ("same", SEQ, (6, 4, 4), {"pad_type": "same", "strides": [2]}, (1, 2)),
        ("same_lower", SEQ, (6, 4, 4), {"pad_type": "same_lower", "strides": [2]}, (2, 1)),
        ("groups", SEQ, (6, 2, 3), {"groups": 2}, (0, 0)),
        ("2d", IMAGE, (6, 4, 3, 2), {"pad_type": "custom", "pad": [1, 0, 0, 2]}, (0, 2, 1, 0)),
        ("3d", rand(1, 2, 4, 5, 6), (3, 2, 3, 2, 2), {}, (0, 0)),
    ):
        weight, bias = rand(*shape), rand(shape[0])

        def expected(x, weight=weight, bias=bias, settings=settings, pads=pads):
            function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.dim()]
            return function(
                F.pad(x, pads),
                torch.tensor(weight),
                torch.tensor(bias),
                settings.get("strides", 1),
                0,
                settings.get("dilations", 1),
                settings.get("groups", 1),
            )

        yield case("conv", x, {"weight": weight, "bias": bias, **settings}, expected, label=label)
    yield case("conv", (SEQ, rand(6, 4, 3)), {}, F.conv1d, first=("x", "weight"), label="computed")
    for label, x, shape, settings, crop in (
        ("plain", SEQ, (4, 6, 3), {}, None),
        ("stride", SEQ, (4, 6, 8), {"strides": [4]}, None),
        ("custom", SEQ, (4, 6, 8), {"strides": [4], "pad_type": "custom", "pad": [2, 2]}, (2, 2)),
        ("uneven", SEQ, (4, 6, 8), {"strides": [4], "pad_type": "custom", "pad": [3, 1]}, (3, 1)),
        ("late", SEQ, (4, 6, 8), {"strides": [4], "pad_type": "custom", "pad": [1, 3]}, (1, 3)),
        ("same", SEQ, (4, 6, 7), {"strides": [4], "pad_type": "same"}, (1, 2)),
        ("dilated", SEQ, (4, 6, 3), {"dilations": [3]}, None),
        ("groups", SEQ, (4, 3, 3), {"groups": 2}, None),
        ("2d", IMAGE, (4, 2, 3, 3), {"strides": [2, 1]}, None),
        (
            "shape",
            SEQ,
            (4, 6, 8),
            {"strides": [4], "pad_type": "custom", "pad": [2, 2], "output_shape": [2, 6, 37]},
            (2, 1),
        ),
    ):
        weight, bias = rand(*shape), rand(shape[1] * settings.get("groups", 1))

        def expected(x, weight=weight, bias=bias, settings=settings, crop=crop):
            function = F.conv_transpose1d if x.dim() == 3 else F.conv_transpose2d
            out = function(
                x,
                torch.tensor(weight),
                torch.tensor(bias),
                settings.get("strides", 1),
                groups=settings.get("groups", 1),
                dilation=settings.get("dilations", 1),
            )
            return out if crop is None else out[..., crop[0] : out.shape[-1] - crop[1]]

        yield case("conv_transpose", x, {"weight": weight, "bias": bias, **settings}, expected, label=label)


def pools():
    base = {"kernel_sizes": [3], "strides": [2]}
    custom = {**base, "pad_type": "custom"}

    def average(x, pads, counted):
        total = F.avg_pool1d(F.pad(x, pads), 3, 2) * 3
        return total / (3 if counted else F.avg_pool1d(F.pad(torch.ones_like(x), pads), 3, 2) * 3)

    yield case("max_pool", SEQ, {**base, "pad_type": "valid"}, lambda x: F.max_pool1d(x, 3, 2))
    yield case(
        "max_pool",
        SEQ,
        {**custom, "pad": [2, 1]},
        label="pad",
        expected=lambda x: F.max_pool1d(F.pad(x, (2, 1), value=-torch.inf), 3, 2),
    )
    yield case(
        "max_pool",
        WIDE,
        {**base, "pad_type": "valid", "ceil_mode": True},
        label="ceil",
        expected=lambda x: F.max_pool1d(x, 3, 2, ceil_mode=True),
    )
    yield case(
        "max_pool",
        IMAGE,
        {"kernel_sizes": [2, 2], "strides": [2, 2], "pad_type": "same"},
        label="2d",
        expected=lambda x: F.max_pool2d(F.pad(x, (0, 0, 0, 1), value=-torch.inf), 2),
    )
    for counted in (True, False):
        for pads in ((1, 1), (2, 1)):
            settings = {**custom, "pad": list(pads), "exclude_padding_from_average": not counted}
            yield case(
                "avg_pool",
                SEQ,
                settings,
                label=f"{pads[0]}{counted}",
                expected=lambda x, p=pads, c=counted: average(x, p, c),
            )
    yield case("l2_pool", SEQ, {**base, "pad_type": "valid"}, lambda x: F.lp_pool1d(x, 2.0, 3, 2))


def norms():
    stats = {"mean": MEAN, "variance": VAR, "epsilon": EPS}
    channel = {"gamma": GAMMA, "beta": BETA}
    tensors = [torch.tensor(v) for v in (MEAN, VAR, GAMMA, BETA)]
    yield case("batch_norm", X, {**stats, **channel}, lambda x: F.batch_norm(x, *tensors, eps=1e-3))
    yield case("batch_norm", WIDE, stats, lambda x: F.batch_norm(x, *tensors[:2], eps=1e-3), label="plain")
    yield case(
        "instance_norm",
        X,
        {**channel, "epsilon": EPS},
        lambda x: F.instance_norm(x, weight=tensors[2], bias=tensors[3], eps=1e-3),
    )
    yield case("instance_norm", WIDE, {"epsilon": EPS}, lambda x: F.instance_norm(x, eps=1e-3), label="plain")
    gamma, beta = rand(4, 5), rand(4, 5)
    yield case(
        "layer_norm",
        X,
        {"axes": [2, -1], "gamma": gamma, "beta": beta, "epsilon": EPS},
        lambda x: F.layer_norm(x, (4, 5), torch.tensor(gamma), torch.tensor(beta), 1e-3),
    )
    yield case(
        "layer_norm",
        X,
        {"axes": [1], **channel, "epsilon": EPS},
        label="middle",
        expected=lambda x: F.layer_norm(x.movedim(1, -1), (3,), *tensors[2:], 1e-3).movedim(-1, 1),
    )
    yield case(
        "l2_norm",
        X,
        {"epsilon": EPS},
        lambda x: x / (x.flatten(1).square().sum(1) + 1e-3).sqrt()[:, None, None, None],
    )
    settings = {"size": 3, "alpha": EPS, "beta": np.float32(0.75), "k": np.float32(2.0)}
    yield case("local_response_norm", X, settings, lambda x: F.local_response_norm(x, 3, 1e-3, 0.75, 2.0))


def reductions():
    functions = {
        "sum": lambda x, a, k: x.sum(a, keepdim=k),
        "mean": lambda x, a, k: x.mean(a, keepdim=k),
        "max": lambda x, a, k: x.amax(a, keepdim=k),
        "min": lambda x, a, k: x.amin(a, keepdim=k),
        "l1_norm": lambda x, a, k: x.abs().sum(a, keepdim=k),
        "l2_norm": lambda x, a, k: x.norm(dim=a, keepdim=k),
        "sum_square": lambda x, a, k: (x * x).sum(a, keepdim=k),
        "log_sum": lambda x, a, k: x.sum(a, keepdim=k).log(),
        "log_sum_exp": lambda x, a, k: x.exp().sum(a, keepdim=k).log(),
        "prod": lambda x, a, k: torch.tensor(x.numpy().prod(tuple(a), keepdims=k)),
    }
    for kind, function in functions.items():
        for axes, keep in (([1, -1], True), ([2], False)):
            yield case(
                f"reduce_{kind}",
                POSITIVE,
                {"axes": axes, "keep_dims": keep},
                label=str(keep),
                expected=lambda x, f=function, a=axes, k=keep: f(x, a, k),
            )
    yield case("reduce_sum", X, {}, lambda x: x.sum(), label="all")
    yield case("reduce_mean", ints(3, 4), {"axes": [1]}, lambda x: x.float().mean(1).int(), label="int")
    yield case("reduce_argmax", X, {"axis": 1}, lambda x: x.argmax(1).int())
    yield case("reduce_argmin", X, {"axis": -1, "keep_dims": True}, lambda x: x.argmin(-1, True).int())
    yield case("argsort", X, {"axis": 1, "ascending": True}, lambda x: x.argsort(1).int())
    yield case("argsort", X, {"axis": -1}, lambda x: (-x).argsort(-1).int(), label="down")
    yield case("topk", X, {"k": 2, "axis": 2}, lambda x: x.topk(2, 2))
    yield case("topk", X, {"k": 2, "axis": -1, "ascending": True}, lambda x: x.topk(2, -1, False), label="up")
    yield case("cumsum", X, {"axis": 1}, lambda x: x.cumsum(1))
    yield case(
        "cumsum",
        X,
        {"axis": 2, "reverse": True, "exclusive": True},
        label="back",
        folds=False,
        expected=lambda x: x.flip(2).cumsum(2).flip(2) - x,
    )


CASES = [
    *elementwise(),
    *activations(),
    *products(),
    *convolutions(),
    *pools(),
    *norms(),
    *reductions(),
]

GROUPS = {
    "elementwise",
    "activation",
    "linear",
    "attention",
    "convolution",
    "pooling",
    "normalization",
    "reduction",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return harness.run_cases(CASES, tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.name)
def test_an_operation_computes_what_torch_does(item, ran):
    outputs, folded, _ = ran
    harness.check(item, outputs, folded)


def test_every_operation_of_these_groups_has_a_case(ran):
    _, _, kinds = ran
    assert {kind for kind, entry in OPERATIONS.items() if entry.group in GROUPS} <= kinds
