"""CREPE pitch tracking: any recording, six model sizes, the numbers of torchcrepe.

`Tracker` follows recordings of any length at constant memory; `predict` and the modules `decode` and
`convert` have the names and meanings of torchcrepe's. The public names are listed in `__init__.pyi` and
loaded at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
