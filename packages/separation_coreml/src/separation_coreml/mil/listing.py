"""The page of the documentation that lists the operations, written from the interpreter's own table."""

from separation_coreml.mil.interpreter import CONTROL
from separation_coreml.mil.ops import OPERATIONS

TITLES = {
    "elementwise": "Element by element",
    "activation": "Activations",
    "linear": "Products of matrices",
    "attention": "Attention (iOS 18)",
    "convolution": "Convolutions",
    "pooling": "Pooling",
    "normalization": "Normalisation",
    "reduction": "Reductions and order",
    "shape": "Shape and order of axes",
    "slicing": "Slices and padding",
    "gather_scatter": "Gathering and scattering",
    "tensor": "Tensors from numbers",
    "resize": "Interpolation",
    "recurrent": "Recurrent layers",
    "quantization": "Quantised activations (iOS 17)",
    "constexpr": "Compressed weights",
}
PAGE = """\
# Running Core ML programs without Core ML

`separation_coreml.mil` reads a `.mlpackage` and runs its program with torch, on any platform. It is how a
conversion is proved on Linux: the program that an iPhone would run is compared with the PyTorch model.

```python
import torch
from separation_coreml.mil import load_program

program = load_program("htdemucs.mlpackage")
program.inputs, program.outputs, program.metadata
stems = program.run(waveform=torch.zeros(1, 2, 343980))["stems"]

for operation, values in program.trace(waveform=torch.zeros(1, 2, 343980)):
    print(operation.kind, operation.name, [tuple(value.shape) for value in values])
```

- **Loading** checks the whole package first: paths and links that lead out of it, weight records outside
  of the weight file or of another type than declared, and operations or parameters that are not in the list
  below (all of them are named) are refused in one sentence. Weights are decompressed once, at loading.
- **float32** results are those of torch's operations. **float16**: values are held in float32, and the
  result of every operation that the program declares as float16 is rounded to float16. That shows the
  rounding of stored values; how sums inside an operation are rounded is up to the device.
- `load_program(path, dtype=torch.float64)` computes without any rounding; `separation-coreml verify --bisect`
  uses it to find where rounding begins to matter.
- Intermediate values are freed after their last use.

What `separation-coreml verify` compares is the arithmetic of the program, not Core ML's compiler: on a Mac
the same command runs Core ML too.

## Operations

{count} kinds, of the opsets iOS 15 to iOS 18. Each is tested against torch, and against coremltools' constant
folding where it has one. Not among them: lists, states, random numbers, boxes (`crop_resize`,
`non_maximum_suppression`), classifier outputs and custom layers.

{table}

Written by:

```bash
uv run --package separation-coreml python -m separation_coreml.mil > docs/separation_coreml_mil.md
```
"""


def operations_page() -> str:
    """The page `docs/separation_coreml_mil.md`."""
    rows = ["| group | operations |", "|---|---|"]
    for group, title in TITLES.items():
        kinds = sorted(kind for kind, entry in OPERATIONS.items() if entry.group == group)
        rows.append(f"| {title} | {_code(kinds)} |")
    rows.append(f"| Constants and control flow | {_code(['const', *sorted(CONTROL)])} |")
    count = len(OPERATIONS) + len(CONTROL) + 1
    return PAGE.format(count=count, table="\n".join(rows))


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
