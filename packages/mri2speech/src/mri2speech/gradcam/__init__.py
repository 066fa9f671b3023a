"""Where the acoustic model looks for a formant, and whether that is where the formant is made.

`maps` gives the heat maps of a film, `film` writes them, `sequences` cuts them, `videos` shows them with film
and sound, `faithfulness` holds them against the phantom, whose causes are known.
"""
