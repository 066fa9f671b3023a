"""How good a pitch track is: metrics, data sets with true pitch, and the evaluation of whole networks.

The public names are listed in `__init__.pyi` and loaded at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
