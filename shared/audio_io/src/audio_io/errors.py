"""What can be wrong with the input: every message names the thing, what was found and what is expected.

The command lines of the workspace print these errors as one sentence and exit with code 2; anything else that
is raised is a defect of ours and keeps its traceback.
"""

from pathlib import Path


class UserError(Exception):
    """Base of every error whose cause, and cure, is in the input."""


class ConfigError(UserError, ValueError):
    """A setting has a value that cannot be used.

    Attributes:
        field: Name of the setting, as the configuration dataclass spells it.
        found: The value that was given, described.
        expected: What would have been accepted.
    """

    def __init__(self, field: str, found: object, expected: str) -> None:
        self.field = field
        self.found = found
        self.expected = expected
        super().__init__(f"{field}: found {found}, expected {expected}")

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, str, str]]:
        # Errors cross from worker processes to their parent by pickling.
        return type(self), (self.field, str(self.found), self.expected)


class FileError(UserError):
    """A file cannot be used.

    Attributes:
        path: The file.
        found: What was found there.
        expected: What would have been accepted.
    """

    def __init__(self, path: str | Path, found: str, expected: str) -> None:
        self.path = Path(path)
        self.found = found
        self.expected = expected
        super().__init__(f"{path}: found {found}, expected {expected}")

    def __reduce__(self) -> tuple[type["FileError"], tuple[Path, str, str]]:
        # See ConfigError.
        return type(self), (self.path, self.found, self.expected)


class AudioError(FileError):
    """An audio file cannot be used; the subclasses say in which way."""


class AudioNotFoundError(AudioError):
    """There is no readable file at the path."""


class UnknownFormatError(AudioError):
    """The bytes are no audio format that any of the decoders knows."""


class NoAudioError(AudioError):
    """The container is readable but holds no sound: no audio track, no channel, or no sample."""


class TruncatedAudioError(AudioError):
    """Fewer samples could be decoded than the header declares."""


class CorruptAudioError(AudioError):
    """The format is known, but its data cannot be decoded."""


class InvalidSamplesError(AudioError):
    """The decoded samples contain NaN or infinity."""
