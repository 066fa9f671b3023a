"""`python -m separation_coreml.mil` prints the page of the documentation about the interpreter."""

import sys

from separation_coreml.mil.listing import operations_page

sys.stdout.write(operations_page())
