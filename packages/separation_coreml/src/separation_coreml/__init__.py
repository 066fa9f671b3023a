"""Source-separation models converted to Core ML, with proof that the result is the same model."""
