"""`python -m pitch` is the `pitch` command."""

import sys

from pitch.cli import main

sys.exit(main())
