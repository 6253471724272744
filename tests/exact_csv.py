"""Reads CSV files with the numbers that were written; before 3.1 pandas reads others by default."""

from functools import partial

import pandas as pd

from bpexp.data.text_files import _exact_floats

read_csv = partial(pd.read_csv, **_exact_floats(pd.__version__))
