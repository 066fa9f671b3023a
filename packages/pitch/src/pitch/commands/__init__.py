"""The sub-commands of `pitch`, a module each: `add_command` adds its parser, `run` does the work."""
