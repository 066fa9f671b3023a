import numpy as np
import pytest
import torch
from torch import Tensor, nn

from separation_coreml.config import ConvertConfig
from separation_coreml.convert import convert
from separation_coreml.mil import load_program
from separation_coreml.narrow_constants import narrowed


@pytest.mark.parametrize(
    ("shape", "other", "expected"),
    [
        ((1, 1, 3, 1), (2, 4, 3, 5), (1, 1, 3, 1)),
        ((2, 4, 3, 5), (2, 4, 3, 5), (1, 1, 3, 1)),
        ((4, 3, 5), (2, 4, 3, 5), (1, 3, 1)),
        # The constant makes the result longer than the other operand is: it has to stay.
        ((2, 4, 3, 5), (2, 1, 3, 5), (1, 4, 3, 1)),
        ((4, 3, 5), (5,), (4, 3, 1)),
    ],
)
def test_a_constant_keeps_one_of_equal_copies_where_the_other_operand_has_them(shape, other, expected):
    value = np.broadcast_to(np.arange(3.0)[:, None], shape)
    smaller = narrowed(value, other)
    assert smaller.shape == expected
    np.testing.assert_array_equal(smaller + np.zeros(other), value + np.zeros(other))


def test_values_that_differ_stay():
    value = np.zeros((4, 3))
    value[2, 1] = 1
    np.testing.assert_array_equal(narrowed(value, (4, 3)), value)


class Expanded(nn.Module):
    """Adds an embedding of channels to each of 500 frames, as HTDemucs does, from both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 64)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embedding(torch.arange(16)).t()[None, :, :, None].expand_as(x)
        return embedded * 0.5 - (x + 0.2 * embedded)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_embedding_that_was_expanded_is_stored_once(tmp_path, precision):
    torch.manual_seed(0)
    module, x = Expanded().eval(), torch.randn(1, 64, 16, 500)
    report = convert(
        module,
        [x],
        tmp_path / "expanded.mlpackage",
        input_names=["x"],
        output_names=["y"],
        config=ConvertConfig(precision=precision),
    )
    # Expanded, either of the two constants would take 1 to 2 MB.
    assert report.size_mb < 0.05
    (found,) = load_program(report.path).run(x=x).values()
    with torch.no_grad():
        torch.testing.assert_close(found, module(x), atol=1e-6 if precision == "fp32" else 5e-3, rtol=1e-3)
