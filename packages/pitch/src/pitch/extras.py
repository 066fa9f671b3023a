"""The optional dependencies: what each extra of the package brings, and whether it is here.

Free of torch, and nothing is imported to find out.
"""

import importlib.util

from audio_io.errors import UserError

# Extra -> the modules it brings and what they are for.
EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "export": (("onnx", "onnxruntime", "onnxscript"), "ONNX files"),
    "live": (("sounddevice",), "the pitch of a microphone"),
    "train": (("lightning", "tensorboard"), "training"),
    "world": (("pyworld",), "the WORLD vocoder"),
}


class MissingExtraError(UserError):
    """Something needs an optional dependency that is not installed."""


def missing_modules(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    modules, _ = EXTRAS[extra]
    return [module for module in modules if importlib.util.find_spec(module) is None]


def how_to_add(extra: str) -> str:
    """What to run. Not pip with this package's name: PyPI has another project of that name."""
    return f"run with the extra: uv run --package pitch --extra {extra}"


def require_extra(extra: str, purpose: str) -> None:
    """Refuse to go on without an extra.

    Args:
        extra: One of `EXTRAS`.
        purpose: What needs it, such as `--format onnx`; it begins the message.

    Raises:
        MissingExtraError: If one of its modules is not installed.
    """
    if missing := missing_modules(extra):
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(f"{purpose}: {', '.join(missing)} {verb} not installed; {how_to_add(extra)}")
