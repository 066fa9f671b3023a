"""How well a network does on tracks, and artists, that it has not heard."""
