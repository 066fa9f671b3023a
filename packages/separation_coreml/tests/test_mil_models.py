"""Whole models, converted by coremltools from PyTorch, against PyTorch; and with compressed weights."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from separation_coreml.mil import load_program
from separation_coreml.mil.ops import OPERATIONS
from separation_coreml.verify import sdr, verify

ct = pytest.importorskip("coremltools")
cto = pytest.importorskip("coremltools.optimize.coreml")


class Convolutions(nn.Module):
    """A little U-Net: strided, dilated and grouped convolutions, norms, a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv1d(2, 32, 8, 4, 2), nn.GroupNorm(4, 32), nn.GELU(),
            nn.Conv1d(32, 64, 3, padding=2, dilation=2, groups=2), nn.BatchNorm1d(64), nn.GLU(1),
            nn.Linear(128, 128),
        )  # fmt: skip
        self.up = nn.ConvTranspose1d(32, 4, 8, 4, 2)

    def forward(self, x):
        return self.up(self.down(x)).reshape(1, 2, 2, -1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(16, 24, 2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(48, 16)

    def forward(self, x):
        return torch.sigmoid(self.out(self.lstm(x)[0])) * x


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 32))

    def forward(self, x):
        q, k, v = (part.reshape(1, -1, 4, 8).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(mixed.transpose(1, 2).reshape(1, -1, 32))


SHAPES = {Convolutions: (1, 2, 512), Recurrent: (1, 20, 16), Attention: (1, 24, 32)}


def build(kind):
    torch.manual_seed(0)
    return kind().eval()


def convert(kind, target="iOS17", precision="FLOAT32"):
    example = torch.zeros(SHAPES[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ct.convert(
            torch.jit.trace(build(kind), example),
            inputs=[ct.TensorType("x", example.shape)],
            outputs=[ct.TensorType("y")],
            compute_precision=getattr(ct.precision, precision),
            minimum_deployment_target=getattr(ct.target, target),
            skip_model_load=True,
        )


def saved(model, path):
    model.save(str(path))
    return load_program(path)


def example(kind):
    return torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def models():
    made = {}

    def get(*key):
        if key not in made:
            made[key] = convert(*key)
        return made[key]

    return get


@pytest.mark.parametrize("target", ["iOS15", "iOS18"])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_float32_model_computes_what_pytorch_does(kind, target, models, tmp_path):
    program = saved(models(kind, target), tmp_path / "model.mlpackage")
    report = verify(program, build(kind), {"x": example(kind)}, stems=("a", "b"))
    assert report.passed
    assert report.sdr >= 110
    if kind is Convolutions:
        assert set(report.outputs[0].stems) == {"a", "b"}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_float16_model_is_rounded_as_it_says(kind, models, tmp_path):
    program = saved(models(kind, "iOS17", "FLOAT16"), tmp_path / "model.mlpackage")
    wanted = build(kind)(example(kind)).detach()
    found = program.run(x=example(kind))["y"]
    assert 45 < sdr(wanted, found) < 80
    assert torch.equal(found, found.half().float())
    # Without rounding only that of the weights is left.
    exact = load_program(tmp_path / "model.mlpackage", dtype=torch.float64).run(x=example(kind))["y"]
    assert sdr(wanted, exact) > sdr(wanted, found)


def int8(**options):
    op = cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=64, **options)
    return lambda model: cto.linear_quantize_weights(model, cto.OptimizationConfig(global_config=op))


def palettes(bits, **options):
    op = cto.OpPalettizerConfig(mode="uniform", nbits=bits, weight_threshold=64, **options)
    return lambda model: cto.palettize_weights(model, cto.OptimizationConfig(global_config=op))


def sparse(model):
    op = cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=64)
    return cto.prune_weights(model, cto.OptimizationConfig(global_config=op))


def both(first, second):
    granularity = "per_channel" if first is sparse else "per_tensor"
    op = cto.OpLinearQuantizerConfig(mode="linear_symmetric", granularity=granularity, weight_threshold=64)
    last = {
        "int8": lambda model: cto.linear_quantize_weights(
            model, cto.OptimizationConfig(global_config=op), joint_compression=True
        ),
        "palettes": lambda model: cto.palettize_weights(
            model,
            cto.OptimizationConfig(
                global_config=cto.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=64)
            ),
            joint_compression=True,
        ),
    }[second]
    return lambda model: last(first(model))


AFFINE = cto.OpLinearQuantizerConfig(mode="linear", weight_threshold=64)
COMPRESSIONS = {
    "int8": ("iOS17", int8(), {"affine_dequantize"}),
    "int8_affine": (
        "iOS17",
        lambda model: cto.linear_quantize_weights(model, cto.OptimizationConfig(AFFINE)),
        {"affine_dequantize"},
    ),
    "int8_blocks": ("iOS18", int8(granularity="per_block", block_size=8), {"blockwise_shift_scale"}),
    "int4": (
        "iOS18",
        int8(dtype="int4", granularity="per_block", block_size=8),
        {"blockwise_shift_scale"},
    ),
    "palette1": ("iOS17", palettes(1), {"lut_to_dense"}),
    "palette4": ("iOS17", palettes(4), {"lut_to_dense"}),
    "palette6": ("iOS17", palettes(6), {"lut_to_dense"}),
    "palette3_groups": (
        "iOS18",
        palettes(3, granularity="per_grouped_channel", group_size=8),
        {"lut_to_dense"},
    ),
    "palette6_scales": (
        "iOS18",
        palettes(6, enable_per_channel_scale=True),
        {"lut_to_dense", "blockwise_shift_scale"},
    ),
    "pruned": ("iOS17", sparse, {"sparse_to_dense"}),
    "pruned_18": ("iOS18", sparse, {"sparse_to_dense"}),
    "pruned_int8": (
        "iOS18",
        both(sparse, "int8"),
        {"sparse_to_dense", "sparse_blockwise_shift_scale"},
    ),
    "pruned_palettes": ("iOS18", both(sparse, "palettes"), {"sparse_to_dense", "lut_to_sparse"}),
    "palettes_int8": ("iOS18", both(palettes(4), "int8"), {"lut_to_dense", "blockwise_shift_scale"}),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed_weights_are_those_that_coremltools_decompresses(name, models, tmp_path):
    target, compress, kinds = COMPRESSIONS[name]
    compressed = compress(models(Convolutions, target))
    program = saved(compressed, tmp_path / "small.mlpackage")
    function = compressed.get_spec().mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    found = {op.type for op in operations if op.type.startswith("constexpr_")}
    assert found == {f"constexpr_{kind}" for kind in kinds}
    plain = saved(cto.decompress_weights(compressed), tmp_path / "plain.mlpackage")
    x = example(Convolutions)
    assert sdr(plain.run(x=x)["y"], program.run(x=x)["y"]) >= 110
    # The figures belong to weights that were changed, not to the original ones.
    assert sdr(build(Convolutions)(x).detach(), program.run(x=x)["y"]) < 80


def test_every_kind_of_compression_has_a_case():
    tested = {f"constexpr_{kind}" for _, _, kinds in COMPRESSIONS.values() for kind in kinds}
    kinds = {kind for kind, entry in OPERATIONS.items() if entry.group == "constexpr"}
    # No tool of coremltools writes constexpr_cast any more; it is the identity in the types of a run.
    assert kinds - tested == {"constexpr_cast"}
    weights = torch.randn(3)
    assert OPERATIONS["constexpr_cast"].function(weights, "fp32") is weights


def test_vectors_from_palettes_are_laid_along_their_axis():
    from coremltools.optimize import _utils as folding

    from separation_coreml.mil.ops.constexpr import constexpr_lut_to_dense

    rng = np.random.default_rng(0)
    lut = rng.normal(size=(2, 1, 4, 3)).astype(np.float32)
    indices = rng.integers(0, 4, (4, 5)).astype(np.uint8)
    for axis in (0, -1):
        ours = constexpr_lut_to_dense(torch.tensor(indices), torch.tensor(lut), vector_axis=axis)
        np.testing.assert_array_equal(ours.numpy(), folding.lut_to_dense(indices, lut, axis))


def test_a_flexible_length_is_taken_within_its_limits(tmp_path):
    from audio_io.errors import ConfigError

    flexible = ct.TensorType("x", (1, 2, ct.RangeDim(256, 1024, 512)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(nn.Conv1d(2, 3, 5), torch.zeros(1, 2, 512))
    model = ct.convert(
        traced,
        inputs=[flexible],
        outputs=[ct.TensorType("y")],
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    program = saved(model, tmp_path / "flexible.mlpackage")
    (output,) = program.run(x=torch.zeros(1, 2, 300)).values()
    assert output.shape == (1, 3, 296)
    for length in (200, 2000):
        with pytest.raises(ConfigError, match=r"x: found the shape \[1, 2"):
            program.run(x=torch.zeros(1, 2, length))


def test_nothing_is_held_after_its_last_use(models, tmp_path):
    program = saved(models(Convolutions, "iOS17"), tmp_path / "model.mlpackage")
    alive = []
    environment = program._environment({"x": example(Convolutions)})
    from separation_coreml.mil.interpreter import run_step

    with torch.no_grad():
        for step in program._block.steps:
            run_step(step, environment)
            alive.append(len(environment))
    assert max(alive) <= 4
    assert list(environment) == ["y"]
