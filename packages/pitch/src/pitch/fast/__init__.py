"""The same network at a fraction of the multiplications: convolutions in the frequency domain."""

from pitch.fast.network import FastCrepe, accelerate

__all__ = ["FastCrepe", "accelerate"]
