"""Audio files, resampling, STFT and mel for research code.

The public names are listed in `__init__.pyi` and loaded at first use: `import audio_io` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
