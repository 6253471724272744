"""CSV and Parquet files written without pandas equal those that pandas writes."""

import csv
import io
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpexp
from bpexp.render.table_files import as_csv, as_parquet
from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate

# Names have no control characters, and a lone surrogate is not valid text.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")))
INTEGERS = st.integers(-(2**53), 2**53)
FLOATS = st.floats(allow_nan=False)
NAN = st.just(math.nan)
CELLS = [
    TEXTS, st.none() | TEXTS, st.booleans(), st.none() | st.booleans(), INTEGERS,
    st.none() | INTEGERS, FLOATS, st.none() | FLOATS | NAN, INTEGERS | FLOATS, NAN, st.none(),
]  # fmt: skip


@st.composite
def tables(draw):
    n_rows = draw(st.integers(1, 20))
    return {
        f"column, {place}": draw(
            st.lists(draw(st.sampled_from(CELLS)), min_size=n_rows, max_size=n_rows)
        )
        for place in range(draw(st.integers(1, 6)))
    }


@given(tables())
def test_parquet_files_have_the_same_types_nulls_and_values_as_those_of_pandas(columns):
    frame, by_pandas = pd.DataFrame(columns), io.BytesIO()
    frame.to_parquet(by_pandas, index=False)
    ours = pq.read_table(io.BytesIO(as_parquet(columns)))
    theirs = pq.read_table(by_pandas).replace_schema_metadata()
    # pandas 2 writes texts as another type, with offsets of 32 bits.
    texts = [i for i, field in enumerate(theirs.schema) if field.type == pa.string()]
    for i in texts:
        column = theirs.column(i).cast(pa.large_string())
        theirs = theirs.set_column(i, theirs.schema.field(i).name, column)
    assert ours.schema == theirs.schema
    for name in columns:
        assert list(map(repr, ours[name].to_pylist())) == list(map(repr, theirs[name].to_pylist()))


def cell(text):
    """The text, numbers normalized: pandas writes 1 as 1.0 if a value of the column is missing."""
    try:
        return repr(float(text))
    except ValueError:
        return text


@given(tables())
def test_csv_files_have_the_same_cells_as_those_of_pandas(columns):
    ours, theirs = (
        [[cell(text) for text in row] for row in csv.reader(io.StringIO(content, newline=""))]
        for content in (as_csv(columns).decode(), pd.DataFrame(columns).to_csv(index=False))
    )
    assert ours == theirs


@pytest.mark.usefixtures("a_store")
def test_stored_results_of_different_kinds_of_runs_equal_the_returned_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # One of the optimizers has more settings, and some runs diverge.
    kinds = ["gradient_descent", "adam"]
    table = bpexp.sweep(optimizer=kinds, lr=[0.1, 1e200], model="regressor", epochs=30)
    assert table["outcome"].tolist() == ["completed", "diverged"] * 2
    assert table["optimizer.beta1"].isna().tolist() == [True, True, False, False]
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    (sweep,) = [run for run in archive.search() if run.is_sweep]
    content = {
        name: archive.client.download_artifacts(sweep.run_id, name)
        for name in ("results.parquet", "results.csv")
    }
    pd.testing.assert_frame_equal(pd.read_parquet(content["results.parquet"]), table)
    with open(content["results.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table)
    kept = [float(row["final_loss"] or "nan") for row in rows]
    assert repr(kept) == repr(table["final_loss"].tolist())
