"""Analysis of singing: vibrato, intonation, range, and their report.

Free of imports, so that the command line can read the settings without NumPy.
"""
