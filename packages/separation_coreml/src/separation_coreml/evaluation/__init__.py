"""How good a separator is on songs whose stems are known, and what is lost by its conversion."""
