"""`python -m pitch` is the `pitch` command, and with torchcrepe's flags it is torchcrepe's."""

import sys

if "--audio_files" in sys.argv:
    from pitch.compat import main
else:
    from pitch.cli import main

sys.exit(main())
