"""`python -m opslib.runner.kernel_launcher PARENT OPTIONS`: what a fork becomes that is to be a run's kernel.

It is a module of its own since the kernel's classes are made once, in the process that forks.
"""

import sys

from opslib.runner.kernel_app import main

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
