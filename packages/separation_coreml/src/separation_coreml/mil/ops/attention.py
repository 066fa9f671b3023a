"""Attention."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the customary name

from separation_coreml.mil.ops.registry import operation


@operation("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """Softmax of the scaled products of queries and keys, times the values (iOS 18)."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask)
