"""`python -m mri2speech` is the `mri2speech` command."""

import sys

from mri2speech.cli import main

sys.exit(main())
