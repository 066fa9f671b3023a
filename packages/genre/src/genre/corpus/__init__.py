"""A corpus that can be made anywhere: songs composed under a seed and rendered with their exact stems."""
