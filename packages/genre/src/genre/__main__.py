"""`python -m genre` is the `genre` command."""

import sys

from genre.cli import main

sys.exit(main())
