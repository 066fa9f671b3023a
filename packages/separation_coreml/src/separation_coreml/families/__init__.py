"""The families of separators, one module each; `separation_coreml.registry` names the models.

A family module has two functions: `build(spec, segment)` gives the network without trained weights, and
`load(separator, spec, checkpoint)` puts the official ones, or a file's, into it.
"""
