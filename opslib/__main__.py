"""`python -m opslib`."""

import sys

from opslib.cli import main

sys.exit(main())
