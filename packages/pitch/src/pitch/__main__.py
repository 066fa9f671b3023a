"""`python -m pitch` is the `pitch` command, and with torchcrepe's flags it is torchcrepe's."""

import sys

if any(argument.startswith("--audio_files") for argument in sys.argv):
    from pitch.compat import main
else:
    from pitch.cli import main

sys.exit(main())
