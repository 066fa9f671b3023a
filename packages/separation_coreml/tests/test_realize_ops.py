"""Every complex operation against torch's own complex result."""

import inspect

import pytest
import torch
from torch.nn import functional as F

from separation_coreml.realize import UnsupportedComplexError, supported_operations
from separation_coreml.realize.capture import Realized, capture
from separation_coreml.realize.complex_ops import OPERATIONS
from separation_coreml.realize.constants import Constants, Recording
from separation_coreml.realize.mode import RealMode

A = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=A, dtype=torch.float64)


def in_real_arithmetic(function, *inputs):
    """The function's result in the mode, and how often it replaced a complex operation.

    The second pass, with the recorded constants, has to give the same as the first.
    """
    recording = Recording()
    first = RealMode(Constants(recording, None)).run(function, *(x.clone() for x in inputs))
    buffers = [tensor.clone() for tensor in recording.tensors]
    second = RealMode(Constants(recording, buffers.__getitem__)).run(function, *(x.clone() for x in inputs))
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
    return first, sum(recording.operations.values())


def real_view(value):
    return torch.view_as_real(value) if value.is_complex() else value


# ruff: noqa: E501
CASES = {
    # arithmetic
    "add": lambda a, b, r: a + b + r + 2 + (1 - 2j),
    "add alpha": lambda a, b, r: torch.add(a, b, alpha=3),
    "sub": lambda a, b, r: (a - b) + (r - a) - 1j + (3 - b),
    "rsub": lambda a, b, r: torch.rsub(a, b),
    "mul": lambda a, b, r: a * b * r * 0.5 * (2 + 1j) + 3j * a,
    "real times imaginary unit": lambda a, b, r: torch.exp(1j * r),
    "div": lambda a, b, r: a / b + a / r + r / b + a / (1 + 2j) + 1 / a + b / 3,
    "div of tiny": lambda a, b, r: (a * 1e-200) / (b * 1e-200),
    "reciprocal": lambda a, b, r: a.reciprocal() + a.__rtruediv__(2) + torch.true_divide(b, r),
    "pow": lambda a, b, r: a**2 + b**3 + a**-1 + a**0.5 + a.pow(2),
    "square": lambda a, b, r: torch.square(a),
    "sqrt": lambda a, b, r: torch.sqrt(a) + torch.sqrt(-b),
    "sqrt of negative reals": lambda a, b, r: torch.sqrt(torch.complex(-r.abs(), torch.zeros_like(r))),
    "exp": lambda a, b, r: a.exp(),
    "log": lambda a, b, r: a.log(),
    "neg": lambda a, b, r: -a.detach() + b.positive() + torch.negative(a).resolve_neg(),
    "einsum": lambda a, b, r: torch.einsum("bij,bkj->bik", a, b) + torch.einsum("bij,bkj->bik", a, r.to(a.dtype)),
    "einsum of one": lambda a, b, r: torch.einsum("bij->jb", a),
    "einsum of three": lambda a, b, r: torch.einsum("bij,bij,bij->b", a, b, a),
    "matmul": lambda a, b, r: a @ b.mT + r.to(a.dtype) @ b.mT + a.__rmatmul__(b.mT).sum(),
    "bmm": lambda a, b, r: torch.bmm(a, b.transpose(1, 2)),
    "mm": lambda a, b, r: torch.mm(a[0], b[0].t()),
    "mv": lambda a, b, r: torch.mv(a[0], b[0, 0]),
    "dot": lambda a, b, r: torch.dot(a[0, 0], b[0, 0]) + torch.vdot(a[0, 0], b[0, 0]),
    "outer": lambda a, b, r: torch.outer(a[0, 0], b[0, 0]),
    "linear": lambda a, b, r: F.linear(a, b[0], b[0, :, 0]),
    "in place": lambda a, b, r: a.clone().mul_(b).add_(r).div_(2),
    "augmented": lambda a, b, r: augmented(a, b),
    # between real and complex
    "abs": lambda a, b, r: abs(a) + torch.abs(b) + a.abs(),
    "angle": lambda a, b, r: torch.angle(a),
    "sgn": lambda a, b, r: torch.sgn(a),
    "norm": lambda a, b, r: torch.linalg.vector_norm(a, dim=-1) + torch.linalg.norm(b, dim=-1),
    "real and imag": lambda a, b, r: a.real * b.imag + torch.real(b) - torch.imag(a),
    "conj": lambda a, b, r: a.conj() * torch.conj(b).resolve_conj() + a.conj_physical(),
    "adjoint": lambda a, b, r: a.mH + b.adjoint(),
    "view_as_real": lambda a, b, r: torch.view_as_real(a).flatten(-2),
    "view_as_complex": lambda a, b, r: torch.view_as_complex(r[..., :2].contiguous()),
    "polar": lambda a, b, r: torch.polar(a.abs(), b.angle()),
    "to complex": lambda a, b, r: r.to(torch.complex128) * a + r.type(a.dtype) + r.cdouble() + r.type_as(b),
    "to narrower": lambda a, b, r: a.to(torch.complex64).to(torch.complex128),
    "comparison": lambda a, b, r: ((a == a) & (a != b)).double(),
    "questions": lambda a, b, r: r * (a.is_complex() + a.dim() + len(a) + a.numel() + a.shape[-1] + a.size(0)),
    # shape
    "reshape": lambda a, b, r: a.reshape(-1, 6).view(4, -1).t().contiguous().T,
    "permute": lambda a, b, r: a.permute(2, 0, 1).transpose(0, 1).movedim(0, -1).swapaxes(0, 1),
    "dimensions": lambda a, b, r: a.unsqueeze(1).squeeze(1).flatten(1).unflatten(1, (3, 4)) + a[None, ..., None][0, ..., 0],
    "repeat": lambda a, b, r: a.tile(2, 1, 1).repeat_interleave(2, -1).ravel() + a[:1].broadcast_to(8, 3, 4).cpu().data.reshape(-1),
    "expand": lambda a, b, r: a[:, :1].expand(2, 3, 4) + a[:1].expand_as(b) + a[:1, :1].repeat(2, 3, 1),
    "index": lambda a, b, r: a[:, 1:, ::2] + b[:, torch.tensor([0, 2]), :2] + a[..., [0, 1], 1:3],
    "select": lambda a, b, r: a.select(1, 0) + a.narrow(1, 1, 1)[:, 0] + a.index_select(1, torch.tensor([2]))[:, 0],
    "chunk": lambda a, b, r: a.chunk(2, -1)[0] * a.split(2, -1)[1] + a.split([1, 2, 1], -1)[1],
    "unbind and iter": lambda a, b, r: sum(a.unbind(1)) + sum(row for row in a[0]),
    "cat": lambda a, b, r: torch.cat([a, r, b], dim=1),
    "stack": lambda a, b, r: torch.stack([a, b, r.to(a.dtype)], dim=-1).sum(-1),
    "pad": lambda a, b, r: F.pad(a, (1, 2, 0, 1)) * (1 + 1j),
    "pad reflect": lambda a, b, r: F.pad(a, (1, 2), mode="reflect"),
    "roll and flip": lambda a, b, r: torch.roll(a, 1, -1) + a.flip(-1),
    "sums": lambda a, b, r: a.sum(-1) + a.mean(-1, keepdim=True)[..., 0] + a.cumsum(-1)[..., 1] + a.sum() + a.mean(),
    "diff": lambda a, b, r: a.diff(dim=-1),
    "where": lambda a, b, r: torch.where(r > 0, a, b) + torch.where(r > 0, a, 0.0),
    "masked_fill": lambda a, b, r: a.masked_fill(r > 0, 0.0) + b.masked_fill(r > 0, 1.5),
    "index_fill": lambda a, b, r: a.index_fill(1, torch.tensor([0]), 0.0),
    "scatter_add": lambda a, b, r: torch.zeros_like(a).scatter_add_(1, torch.tensor([[[1] * 4, [1] * 4, [0] * 4]] * 2), b),
    "index_add": lambda a, b, r: a.index_add(1, torch.tensor([2, 2, 0]), b),
    "gather": lambda a, b, r: a.gather(-1, torch.tensor([[[3, 0]] * 3] * 2)),
    "tril": lambda a, b, r: a.tril() + b.triu() + torch.diagonal(a, 0, 1, 2).sum(),
    "unfold": lambda a, b, r: a.unfold(-1, 2, 1),
    # making
    "zeros_like": lambda a, b, r: torch.zeros_like(a) + torch.ones_like(b) + a.new_zeros(2, 3, 4) + torch.full_like(a, 2j),
    "new": lambda a, b, r: a.new_ones((2, 3, 4)) * a + a.new_full((4,), 1 + 1j) + torch.zeros(4, dtype=a.dtype),
    "constant": lambda a, b, r: a * torch.tensor([1j, 2, 3 - 1j, 4]) + torch.polar(torch.ones(4), torch.arange(4.0)),
    "rotation": lambda a, b, r: torch.view_as_real(a * torch.exp(-1j * torch.arange(4.0, dtype=torch.float64))).flatten(-2),
    # assignment
    "assign slice": lambda a, b, r: assigned(a, (slice(None), 0), 0),
    "assign block": lambda a, b, r: assigned(a, (slice(None), slice(1, 3), slice(0, 4, 2)), b[:, 1:, ::2]),
    "assign real": lambda a, b, r: assigned(a, (..., 1), r[..., 0]),
    "assign view": lambda a, b, r: assigned_through_view(a, b),
    "assign mask": lambda a, b, r: assigned(r, r > 0, 0.5) * a,
}  # fmt: skip


def assigned(target, index, value):
    target = target.clone()
    target[index] = value
    return target


def assigned_through_view(target, value):
    target = target.clone()
    row = target[:, 1]
    inner = row[..., 1:]
    inner *= 2
    row += value[:, 0]
    target[0] *= 1j
    return torch.cat([target, row[:, None]], dim=1)


def augmented(a, b):
    a = a.clone()
    a += b
    a *= 2
    a -= 1j
    a /= b
    return a


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    function = CASES[name]

    def of_parts(ar, ai, br, bi, r):
        return real_view(function(torch.complex(ar, ai), torch.complex(br, bi), r))

    inputs = [draw(2, 3, 4) for _ in range(5)]
    expected = of_parts(*inputs)
    found, count = in_real_arithmetic(of_parts, *inputs)
    assert count >= 2
    tolerance = 1e-5 if name == "to narrower" else 1e-10
    # A constant made of Python numbers is float32 on both sides; what it takes part in is float64.
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


STFT = [
    {"n_fft": 16},
    {"n_fft": 16, "hop_length": 3},
    {"n_fft": 16, "hop_length": 4, "win_length": 10},
    {"n_fft": 16, "hop_length": 5, "win_length": 11, "normalized": True},
    {"n_fft": 15, "hop_length": 4},
    {"n_fft": 16, "center": False},
    {"n_fft": 16, "pad_mode": "constant"},
    {"n_fft": 16, "onesided": False},
    {"n_fft": 15, "onesided": False},
    {"n_fft": 17, "hop_length": 4, "normalized": True},
]


@pytest.mark.parametrize("settings", STFT, ids=str)
@pytest.mark.parametrize("shape", [(60,), (2, 63)])
def test_stft(settings, shape):
    window = torch.hann_window(settings.get("win_length", settings["n_fft"]), dtype=torch.float64) + 0.1

    def function(x):
        z = torch.stft(x, window=window, return_complex=True, **settings)
        return torch.cat(
            [
                torch.view_as_real(z),
                torch.view_as_real(x.stft(window=window, return_complex=True, **settings)),
            ]
        )

    x = draw(*shape)
    found, count = in_real_arithmetic(function, x)
    assert count == 4
    torch.testing.assert_close(found, function(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length", [None, 40, 61, 70])
@pytest.mark.parametrize(
    "settings",
    [s for s in STFT if s.get("pad_mode") is None and s != {"n_fft": 16, "center": False}],
    ids=str,
)
def test_istft(settings, length):
    if length == 70 and settings.get("win_length") == 10:
        pytest.skip("torch refuses a normalisation by zero")
    window = torch.hann_window(settings.get("win_length", settings["n_fft"]), dtype=torch.float64) + 0.1
    n_bins = settings["n_fft"] if settings.get("onesided") is False else settings["n_fft"] // 2 + 1

    def function(re, im):
        return torch.istft(torch.complex(re, im), window=window, length=length, **settings)

    # Not the spectrum of any signal: the inverse of anything has to be the same.
    re, im = draw(2, n_bins, 15), draw(2, n_bins, 15)
    found, count = in_real_arithmetic(function, re, im)
    assert count == 2
    torch.testing.assert_close(found, function(re, im), rtol=1e-10, atol=1e-10, equal_nan=True)


def test_angles_at_the_edges_of_the_spectrum_are_torch_s():
    def function(x):
        return torch.stft(x, 16, window=torch.ones(16), return_complex=True)[[0, -1]].angle()

    x = draw(400).float()
    torch.testing.assert_close(in_real_arithmetic(function, x)[0], function(x), rtol=0, atol=0)


def test_istft_without_center_and_window():
    def function(re, im):
        return torch.istft(torch.complex(re, im), 8, 8, center=False)

    re, im = draw(5, 4), draw(5, 4)
    with pytest.warns(UserWarning, match="window was not provided"):
        expected = function(re, im)
    torch.testing.assert_close(in_real_arithmetic(function, re, im)[0], expected, rtol=1e-10, atol=1e-10)


FFT = {
    "rfft": lambda x, z: torch.fft.rfft(x),
    "rfft n": lambda x, z: torch.fft.rfft(x, n=10) + torch.fft.rfft(x, n=10, norm="forward"),
    "rfft dim": lambda x, z: torch.fft.rfft(x, dim=1, norm="ortho"),
    "irfft": lambda x, z: torch.fft.irfft(z),
    "irfft n": lambda x, z: torch.fft.irfft(z, n=9) + torch.fft.irfft(z, n=9, norm="forward"),
    "irfft dim": lambda x, z: torch.fft.irfft(z, dim=1, norm="ortho"),
    "fft": lambda x, z: torch.fft.fft(z) + torch.fft.fft(x),
    "fft n": lambda x, z: torch.fft.fft(z, n=5, norm="forward") + torch.fft.fft(z, n=5, norm="ortho"),
    "ifft": lambda x, z: (
        torch.fft.ifft(z) + torch.fft.ifft(z, norm="ortho") + torch.fft.ifft(x, norm="forward")
    ),
    "ifft n": lambda x, z: torch.fft.ifft(z, n=11, dim=-2),
    "fft2": lambda x, z: torch.fft.ifft2(torch.fft.fft2(z, norm="ortho") * 2, norm="ortho"),
    "fftn": lambda x, z: torch.fft.fftn(z, dim=(1, 2)) + torch.fft.ifftn(z),
    "fftshift": lambda x, z: torch.fft.fftshift(z, dim=-1) + torch.fft.ifftshift(z),
}


@pytest.mark.parametrize("name", FFT)
def test_fft(name):
    def function(x, re, im):
        return real_view(FFT[name](x, torch.complex(re, im)))

    inputs = draw(2, 6, 8), draw(2, 6, 8), draw(2, 6, 8)
    found, _ = in_real_arithmetic(function, *inputs)
    torch.testing.assert_close(found, function(*inputs), rtol=1e-10, atol=1e-10)


def test_unknown_operations_are_refused_by_name():
    with pytest.raises(
        UnsupportedComplexError, match=r"^torch\.Tensor\.sinh: found a complex operation .* expected"
    ):
        in_real_arithmetic(lambda x: torch.complex(x, x).sinh().real, draw(3))
    with pytest.raises(UnsupportedComplexError, match="hfft"):
        in_real_arithmetic(torch.fft.hfft, draw(8))
    assert "stft" in supported_operations()
    assert "sinh" not in supported_operations()


def test_every_operation_is_tested():
    source = inspect.getsource(inspect.getmodule(test_operation))
    names_of = {}
    for name, function in OPERATIONS.items():
        names_of.setdefault(function, []).append(name.removeprefix("fft_"))
    assert [names for names in names_of.values() if not any(name in source for name in names)] == []


def test_a_new_axis_before_an_integer_adds_no_sixth_dimension():
    def function(x):
        return x[1:, ..., None, None, None, 2] * x[..., 0, None][:, 0, None, None][1:, ..., None]

    x = draw(3, 4, 5).float()
    found, _ = in_real_arithmetic(function, x)
    assert torch.equal(found, function(x))
    module = torch.nn.Module()
    module.forward = function
    graph = capture(module, (x,)).inlined_graph
    ranks = [value.type().dim() for node in graph.nodes() for value in node.outputs()
             if value.type().kind() == "TensorType"]  # fmt: skip
    assert max(rank for rank in ranks if rank is not None) == 5


def test_a_function_that_chooses_another_by_its_arguments_is_left_to_torch():
    # torch.nn.functional.max_pool2d, max_pool1d and adaptive_max_pool2d are such.
    x = torch.randn(1, 2, 8, 8, generator=A)
    for function in (
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool1d(x[0], 2),
        lambda x: F.adaptive_max_pool2d(x, 4),
    ):
        assert torch.equal(RealMode(Constants(Recording(), None)).run(function, x.clone()), function(x))


class WritesIntoEmpty(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        out[0], out[1] = x[0] + 1, x[1] - 1
        return out


def test_what_stands_in_memory_does_not_become_a_constant():
    # Torch fills new memory with NaN then, which is what may stand there anyway.
    torch.use_deterministic_algorithms(mode=True)
    try:
        realized = Realized(WritesIntoEmpty(), (torch.ones(2, 3),))
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert not any(value.isnan().any() for value in realized.buffers())
    assert realized(torch.zeros(2, 3)).tolist() == [[1.0] * 3, [-1.0] * 3]
