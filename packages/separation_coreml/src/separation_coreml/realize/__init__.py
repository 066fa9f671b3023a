"""Complex arithmetic as pairs of real tensors, and the graph rewrites that Core ML's converter needs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
