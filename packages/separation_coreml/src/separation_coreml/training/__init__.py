"""How the small separator is trained: songs made in advance, a plain loop, weights at the end."""
