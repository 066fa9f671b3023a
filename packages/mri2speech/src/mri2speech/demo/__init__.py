"""`mri2speech train` without a data set: the whole pipeline on the phantom, from films to a page to look at.

`run` goes through the stages, which are those of the other commands; `config` holds their settings, `films`
makes the corpus, and `page` shows what came of it.
"""
