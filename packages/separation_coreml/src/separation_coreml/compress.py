"""Smaller weights: 8 bits, a palette, or zeros."""

from typing import Any

from separation_coreml.config import ConvertConfig
from separation_coreml.core_ml_tools import coremltools
from separation_coreml.precision import TRANSFORM

# Tensors below this many values (norms, biases, convolutions of the outermost levels) are a few percent of a
# model's size, and the first to be missed: with 4096, MDX-Net loses 8 dB.
WEIGHT_THRESHOLD = 16384


def compress(model: Any, config: ConvertConfig) -> Any:  # noqa: ANN401 - coremltools has no types
    """A converted model with its weights stored as the configuration says.

    The tables of Fourier transforms stay as they are: they are small, and every sample passes through them.

    Args:
        model: A `coremltools.models.MLModel`.
        config: Its `quantize` and `sparsity` count.
    """
    if config.quantize == "none":
        return model
    cto = coremltools("optimize.coreml")
    if config.quantize == "int8":
        settings = cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", granularity="per_channel", weight_threshold=WEIGHT_THRESHOLD
        )
        apply = cto.linear_quantize_weights
    elif config.quantize == "prune":
        settings = cto.OpMagnitudePrunerConfig(
            target_sparsity=config.sparsity, weight_threshold=WEIGHT_THRESHOLD
        )
        apply = cto.prune_weights
    else:
        settings = cto.OpPalettizerConfig(
            mode="kmeans",
            nbits=int(config.quantize.removeprefix("palettize")),
            weight_threshold=WEIGHT_THRESHOLD,
        )
        apply = cto.palettize_weights
    whole = dict.fromkeys(transform_constants(model))
    return apply(model, cto.OptimizationConfig(global_config=settings, op_name_configs=whole))


def transform_constants(model: Any) -> list[str]:  # noqa: ANN401 - coremltools has no types
    """Names of the constants of a converted model that belong to Fourier transforms."""
    return [
        operation.outputs[0].name
        for function in model.get_spec().mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        if operation.type == "const" and operation.outputs[0].name.startswith(TRANSFORM)
    ]
