"""`mri2speech train` without a data set: the whole pipeline on the phantom, from films to a page to look at.

`run` goes through the stages; `config` holds their settings, `formants` measures speech, `judge` compares it
with what the phantom's tubes do, and `page` shows it all.
"""
