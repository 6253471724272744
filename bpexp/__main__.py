"""Run the program: ``python -m bpexp``."""

from bpexp.cli.main import main

if __name__ == "__main__":
    main()
