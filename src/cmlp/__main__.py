"""Run the command line as ``python -m cmlp``."""

import sys

from cmlp.cli import main

sys.exit(main())
