"""A corpus, two models, and which of them is right: everything that the package does, in a few minutes."""
