from .capture import Realized, capture
from .mode import supported_operations
from .values import RealizeError, UnsupportedComplexError, UnsupportedRankError

__all__ = [
    "RealizeError",
    "Realized",
    "UnsupportedComplexError",
    "UnsupportedRankError",
    "capture",
    "supported_operations",
]
