"""A PyTorch model as a Core ML package, on any platform that has coremltools."""

import contextlib
import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from audio_io.errors import ConfigError, UserError
from audio_io.progress import Progress
from separation_coreml import converters, narrow_constants
from separation_coreml.compress import compress
from separation_coreml.config import ConvertConfig
from separation_coreml.core_ml_tools import checked_once, coremltools
from separation_coreml.mil import load_program
from separation_coreml.mil.interpreter import UnknownOperationError
from separation_coreml.package import add_metadata, atomic_package, check_path, size_mb
from separation_coreml.precision import in_float16
from separation_coreml.realize.capture import Realized, capture
from separation_coreml.verify import ParityReport, verify

# Metadata that Core ML has fields of its own for.
_FIELDS = {"author": "author", "license": "license", "description": "short_description", "version": "version"}


class ConversionError(UserError):
    """coremltools cannot convert the captured graph."""


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion cost and gave.

    Attributes:
        path: The package.
        seconds: Duration of capture, conversion and writing.
        peak_memory_mb: Most memory that the process held meanwhile, in MB; 0 where the system does not tell.
        operations: Operations of the program, constants not counted.
        size_mb: Of the package, in MB.
        complex_operations: How often each complex operation was replaced by real ones.
        parity: What the package computes of the example inputs against what the module does; None if that
            was not asked for, or if the interpreter does not know all operations.
    """

    path: Path
    seconds: float
    peak_memory_mb: float
    operations: int
    size_mb: float
    complex_operations: Mapping[str, int]
    parity: ParityReport | None = None

    @property
    def complex_removed(self) -> int:
        """Number of complex operations that were replaced."""
        return sum(self.complex_operations.values())


def convert(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    path: str | Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    config: ConvertConfig | None = None,
    metadata: Mapping[str, str] | None = None,
    further_inputs: Sequence[Sequence[Tensor]] = (),
    parity: bool = True,
    stems: Sequence[str] = (),
) -> ConvertReport:
    """Write a module as a `.mlpackage` for inputs of one shape, or of several that are enumerated.

    Complex arithmetic is replaced by real arithmetic on the way (see `realize`), and the result of that is
    compared with the module's own before anything is converted.

    Args:
        module: Inputs and outputs have to be real tensors. A `Realized` one is taken as it is, which saves
            time if it is converted more than once.
        example_inputs: Inputs of the shapes that the package shall take.
        path: Where to write; a package that is there is replaced when the new one is complete.
        input_names: A name for each input.
        output_names: A name for each output.
        config: Settings; the defaults if None.
        metadata: Written into the package; `author`, `license`, `description` and `version` go into Core
            ML's own fields.
        further_inputs: Inputs of other shapes that the package shall take as well, for modules of one input
            whose graph holds no size that differs; see `capture`.
        parity: Whether to run the package, without Core ML, and write how far it is from the module into its
            metadata (`parity`, as JSON).
        stems: See `verify`.

    Raises:
        ConfigError: If the path or the number of names does not fit, or further inputs are asked of a module
            of several inputs or of `torch.export`.
        RealizeError: If the module cannot be realised, or holds sizes.
        ConversionError: If coremltools has no converter for an operation.
    """
    config = config or ConvertConfig()
    path = check_path(path)
    inputs = tuple(example_inputs)
    if len(input_names) != len(inputs):
        raise ConfigError("input_names", f"{len(input_names)} names", f"{len(inputs)}, one for each input")
    if further_inputs and len(inputs) != 1:
        raise ConfigError("further_inputs", f"a module of {len(inputs)} inputs", "a module of one input")
    if further_inputs and config.capture != "trace":
        raise ConfigError("capture", repr(config.capture), "trace, which alone takes further inputs")
    started = time.monotonic()
    _reset_peak_memory()
    measured = None
    with Progress(f"convert to {path.name}", 4 + parity, "steps") as progress, quiet():
        realized = module if isinstance(module, Realized) else Realized(module, inputs)
        program = capture(realized, inputs, how=config.capture, further_inputs=further_inputs)
        progress.advance(1)
        # Lengths may be completed to the same number of frames.
        shapes = [
            list(dict.fromkeys(tuple(given[place].shape) for given in (inputs, *further_inputs)))
            for place in range(len(inputs))
        ]
        model = _to_core_ml(program, shapes, input_names, output_names, config)
        progress.advance(1)
        model = compress(model, config)
        progress.advance(1)
        operations = count_operations(model)
        _describe(model, config, metadata or {}, realized.complex_operations, operations)
        with atomic_package(path) as temporary:
            model.save(str(temporary))
            progress.advance(1)
            seconds, memory = time.monotonic() - started, _peak_memory_mb()
            # Its weights are in the file.
            del model, program
            if parity:
                given = dict(zip(input_names, inputs, strict=True))
                measured = _measure(temporary, realized.expected, given, stems)
                progress.advance(1)
    return ConvertReport(
        path=path,
        seconds=seconds,
        peak_memory_mb=memory,
        operations=operations,
        size_mb=size_mb(path),
        complex_operations=realized.complex_operations,
        parity=measured,
    )


def _measure(
    package: Path, expected: Sequence[Tensor], inputs: Mapping[str, Tensor], stems: Sequence[str]
) -> ParityReport | None:
    try:
        program = load_program(package)
    except UnknownOperationError:
        return None
    report = verify(program, lambda *_: expected, inputs, stems=stems)
    values = report.as_json()
    add_metadata(
        package, {"parity": json.dumps({key: values[key] for key in ("sdr_db", "max_abs", "outputs")})}
    )
    return report


def _to_core_ml(
    program: Any,  # noqa: ANN401 - either of two captures
    shapes: Sequence[Sequence[tuple[int, ...]]],
    input_names: Sequence[str],
    output_names: Sequence[str],
    config: ConvertConfig,
) -> Any:  # noqa: ANN401 - coremltools has no types
    import numpy as np

    ct: Any = coremltools()
    converters.register()
    precision = {
        "fp32": ct.precision.FLOAT32,
        "fp16": ct.precision.FLOAT16,
        "mixed": ct.transform.FP16ComputePrecision(op_selector=in_float16()),
    }[config.precision]
    try:
        with checked_once():
            return ct.convert(
                program,
                # Waveforms stay float32 at the border whatever is computed with inside.
                inputs=[
                    ct.TensorType(
                        name=name,
                        # The first is the one that Core ML takes for the model's own.
                        shape=first if not others else ct.EnumeratedShapes([first, *others], default=first),
                        dtype=np.float32,
                    )
                    for name, (first, *others) in zip(input_names, shapes, strict=True)
                ],
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in output_names],
                minimum_deployment_target=getattr(ct.target, config.target),
                compute_precision=precision,
                skip_model_load=True,
                pass_pipeline=narrow_constants.pipeline(),
            )
    except (NotImplementedError, ValueError, RuntimeError, AssertionError) as error:
        sentence = " ".join(str(error).split()) or type(error).__name__
        raise ConversionError(
            f"coremltools: found {sentence[:300]}, expected operations that it knows"
        ) from error


def count_operations(model: Any) -> int:  # noqa: ANN401 - coremltools has no types
    """Operations of a converted model's program, constants not counted."""
    blocks = [
        block
        for function in model.get_spec().mlProgram.functions.values()
        for block in function.block_specializations.values()
    ]
    count = 0
    while blocks:
        for operation in blocks.pop().operations:
            count += operation.type != "const" and not operation.type.startswith("constexpr_")
            blocks.extend(operation.blocks)
    return count


def _describe(
    model: Any,  # noqa: ANN401 - coremltools has no types
    config: ConvertConfig,
    metadata: Mapping[str, str],
    complex_operations: Mapping[str, int],
    operations: int,
) -> None:
    for key, value in metadata.items():
        if key in _FIELDS:
            setattr(model, _FIELDS[key], value)
        else:
            model.user_defined_metadata[key] = value
    model.user_defined_metadata.update(
        {
            "converter": f"separation-coreml {distributions.version('separation-coreml')}",
            "conversion": json.dumps(asdict(config)),
            "compute_units": config.compute_units,
            "complex_operations_removed": json.dumps(dict(complex_operations)),
            "operations": str(operations),
        }
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence coremltools: its log, its progress bars and its warnings about untested versions."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _reset_peak_memory() -> None:
    # Linux only, and not in every container.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_memory_mb() -> float:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return 0.0
