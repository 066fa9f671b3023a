"""Sphinx configuration."""

from importlib import metadata

project = "audio-ml-workspace"
author = "The audio-ml-workspace authors"
copyright = "2026, " + author
release = metadata.version("audio-io")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Shape", "params_style"), ("Reference", "notes_style")]

html_theme = "furo"
html_title = project

# Classes of two packages may have the same name; a bare name in a type annotation then has two targets.
suppress_warnings = ["ref.python"]
