"""`python -m separation_coreml` is the `separation-coreml` command."""

import sys

from separation_coreml.cli import main

sys.exit(main())
