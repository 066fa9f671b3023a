"""The import of coremltools, without its warnings and without what it imports for nothing."""

import functools
import importlib
import logging
import sys
from types import ModuleType

# It looks for them, to convert other kinds of models; they take most of the time of its import.
_UNUSED = ("sklearn", "torchvision", "xgboost", "tensorflow", "transformers")


@functools.cache
def coremltools(module: str = "") -> ModuleType:
    """The package coremltools, or a module of it.

    On import it reports that Core ML itself is absent off macOS and which versions of other libraries it was
    not tested with; nothing that is done here depends on either.

    Args:
        module: Name of a module in it; the package if empty.
    """
    absent = [name for name in _UNUSED if name not in sys.modules]
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # None stands for a module that cannot be imported.
        sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
        package = importlib.import_module("coremltools")
    finally:
        for name in absent:
            del sys.modules[name]
        logger.setLevel(level)
    return importlib.import_module(f"coremltools.{module}") if module else package
