"""Which stem decided, and where: Shapley values of stems and maps over time and frequency."""
