"""Run ``bpexp`` as a module: ``python -m bpexp``."""

from bpexp.cli.main import main

if __name__ == "__main__":
    main()
