"""The acoustic model: frames of a film in, normalised mel frames out."""
