"""Ids of new runs ascend and do not collide."""

from itertools import islice, pairwise

from bpexp.tracking.ids import ascending


def test_ids_have_mlflows_format_ascend_and_differ_in_eight_digits():
    ids = list(islice(ascending(), 20_000))
    assert all(len(i) == 32 and set(i) <= set("0123456789abcdef") for i in ids)
    assert ids == sorted(ids)
    assert len({i[:8] for i in ids}) == len(ids)
    # A second sequence has other ids.
    assert not set(ids) & set(islice(ascending(), 20_000))


def test_the_sequence_restarts_at_the_end_of_the_range():
    ids = list(islice(ascending(), 140_000))
    drops = sum(a > b for a, b in pairwise(ids))
    assert 1 <= drops <= 6
    assert len(set(ids)) == len(ids)
