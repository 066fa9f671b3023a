"""coremltools without its warnings, without what it imports for nothing, and without its repeated checks."""

import contextlib
import functools
import importlib
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

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


@contextlib.contextmanager
def checked_once() -> Iterator[None]:
    """Has coremltools check a program when all is done, and not after each of its hundred passes.

    The checks change nothing in a program, and take a third of a conversion.
    """
    program_class = coremltools("converters.mil.mil").Program
    check = program_class.validate
    last: dict[str, Any] = {}
    program_class.validate = lambda program, **_: last.update(program=program)
    try:
        yield
    finally:
        program_class.validate = check
    if last:
        check(last["program"])
