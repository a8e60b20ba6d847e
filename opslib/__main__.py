"""`python -m opslib`."""

import sys

from opslib.cli.main import main

sys.exit(main())
