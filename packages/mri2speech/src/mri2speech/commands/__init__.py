"""The sub-commands of `mri2speech`, a module each: `add_command` adds its parser, `run` does the work."""
