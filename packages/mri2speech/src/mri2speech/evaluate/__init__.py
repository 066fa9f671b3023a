"""Is the speech right? Measures, formants read off sound, a run over utterances, and its page."""
