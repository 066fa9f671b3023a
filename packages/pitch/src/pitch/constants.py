"""The numbers that define CREPE's input and output.

Reference:
    Kim et al., "CREPE: A Convolutional Representation for Pitch Estimation", ICASSP 2018, section 2;
    crepe/core.py (marl/crepe); the names are torchcrepe's.
"""

SAMPLE_RATE = 16000  # Hz, of the network's input
WINDOW_SIZE = 1024  # samples that one frame sees
PITCH_BINS = 360
CENTS_PER_BIN = 20  # cents
REFERENCE_HZ = 10.0  # the frequency of 0 cents

# Cents of bin 0: 31.70 Hz. The paper puts the first bin at C1, 32.70 Hz; the published weights were trained
# with this mapping of crepe/core.py.
FIRST_BIN_CENTS = 1997.3794084376191
MAX_FMAX = 2006.0  # Hz, just above the last bin

UNVOICED = float("nan")
