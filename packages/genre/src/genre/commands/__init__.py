"""The sub-commands of `genre`, a module each: `add_command` adds its parser, `run` does the work."""
