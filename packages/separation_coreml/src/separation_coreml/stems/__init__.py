"""Songs made from nothing, whose stems are known exactly.

Separation is measured against the true stems of a mixture, and recordings with true stems cannot be
shipped. These songs have what a separator has to cope with: a drum pattern, a bass line and chords in one key
and tempo, a sung melody with glides and vibrato, panorama, reverberation, and bars in which a part is silent.
They are no music, and figures from them say how two models differ, not how good one is on real songs.

`render` makes the stems of one song, `render_folder` writes songs as MUSDB18-HQ is laid out.
"""
