"""Modules whose buffers follow from their settings: windows, DFT matrices, mel filters."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from audio_io.errors import ConfigError


class TableModule(nn.Module):
    """Base of modules that carry tables computed in float64 and rounded once to the module's dtype.

    A plain buffer that was rounded to float32 stays that coarse after `.double()`. Here each change of dtype
    or device computes the tables anew, so a module is as exact as its dtype allows. The tables are not part
    of the `state_dict`: they follow from the settings.

    A subclass ends its constructor with `self._build_tables()`.
    """

    def _tables(self) -> dict[str, Tensor]:
        """The tables by buffer name, in float64."""
        raise NotImplementedError

    def _buffers_by_name(self) -> dict[str, Tensor]:
        return dict(self.named_buffers(recurse=False))

    def _build_tables(self) -> None:
        # A module made in inference mode shall serve training too.
        with torch.inference_mode(False):
            for name, table in self._tables().items():
                self.register_buffer(name, table.detach().to(torch.get_default_dtype()), persistent=False)

    def _check_precision(self, name: str, x: Tensor) -> None:
        """Refuse input of more precision than the tables have: the result would claim it, and lack it.

        Raises:
            ConfigError: If the type of `x` (or of its parts, if complex) is not that of the module or less.
        """
        table = next(self.buffers(recurse=False)).dtype
        parts = x.real.dtype if x.is_complex() else x.dtype
        if torch.promote_types(parts, table) != table:
            raise ConfigError(
                name, f"{x.dtype} in a module of {table}", f"{table}, or the module as .to({parts})"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in self._tables().items():
            self._buffers[name] = table.detach().to(fn(self.get_buffer(name)))
        return self
