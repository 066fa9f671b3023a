"""Films and sound files to a data set: frames brought to the times of the mel frames.

Frame i of a sample is what the film shows at the time at which mel frame i of its sound is centred,
`i * hop_length / sample_rate`. Between two frames of the film it is interpolated.
"""
