"""Operations that coremltools converts from TorchScript only, taught to its reader of exported programs."""

import copy
import functools
from typing import Any

from separation_coreml.core_ml_tools import coremltools


@functools.cache
def register() -> None:
    """Add them to coremltools' table; names that a later version knows by itself are left alone."""
    operations: Any = coremltools("converters.mil.frontend.torch.ops")
    table: Any = coremltools("converters.mil.frontend.torch.torch_op_registry")._TORCH_OPS_REGISTRY

    def lstm(context: Any, node: Any) -> None:  # noqa: ANN401 - coremltools has no types
        # TorchScript names each of the three outputs, an exported program names their tuple.
        parts = copy.copy(node)
        parts.outputs = [f"{node.name}_output", f"{node.name}_hidden", f"{node.name}_cell"]
        operations.lstm(context, parts)
        context.add(tuple(context[name] for name in parts.outputs), node.name)

    for name, converter in (("lstm.input", lstm), ("__and__", operations.logical_and)):
        if name not in table:
            table.set_func_by_name(converter, name)
