"""coremltools' protocol-buffer classes."""

from types import ModuleType

from separation_coreml.core_ml_tools import coremltools


def messages() -> tuple[ModuleType, ModuleType]:
    """The modules with the messages `Model` and, inside it, the MIL program."""
    return coremltools("proto.Model_pb2"), coremltools("proto.MIL_pb2")
