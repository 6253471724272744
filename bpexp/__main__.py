"""``python -m bpexp``."""

from bpexp.cli import main

if __name__ == "__main__":
    main()
