"""How files become samples and samples files: container recognition, the two decoders, the writer."""
