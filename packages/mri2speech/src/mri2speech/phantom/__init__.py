"""A talking midsagittal section whose picture and sound come from one outline, with the truth of both.

`anatomy` (speakers) and `phones` (targets) feed `gestures` (movements), whose articulators `outline` turns
into walls, distances and areas; `render` paints them, `tube` finds their resonances, `line` and `source` let
them sound. `corpus` puts the parts together and `causal` asks what one articulator does.
"""
