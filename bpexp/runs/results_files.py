"""The names of the table of results of a sweep, which its parent run has in two formats."""

CSV = "results.csv"
PARQUET = "results.parquet"
