"""The names of files of the parent run of a sweep that several packages use."""

PLAN = "plan.jsonl.gz"
RESULTS_CSV, RESULTS_PARQUET = "results.csv", "results.parquet"
"""The table of results, in two formats."""
TRIALS_CSV = "trials.csv"
"""The table of the trials of a search that have ended."""
