"""coremltools' protocol-buffer classes, imported without its warnings."""

import functools
import logging
from types import ModuleType


@functools.cache
def messages() -> tuple[ModuleType, ModuleType]:
    """The modules with the messages `Model` and, inside it, the MIL program.

    coremltools reports on import that Core ML itself is absent off macOS and which versions of other
    libraries it was not tested with; nothing that is done here depends on either.
    """
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from coremltools.proto import MIL_pb2, Model_pb2
    finally:
        logger.setLevel(level)
    return Model_pb2, MIL_pb2
