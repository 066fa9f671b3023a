"""The commands of `separation-coreml`, one module each."""
