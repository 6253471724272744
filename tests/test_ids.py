"""Ids of new runs."""

from itertools import islice, pairwise

from bpexp.tracking.ids import ascending


def test_ids_are_mlflows_ascend_and_are_told_apart_by_eight_digits():
    ids = list(islice(ascending(), 20_000))
    assert all(len(i) == 32 and set(i) <= set("0123456789abcdef") for i in ids)
    assert ids == sorted(ids)
    assert len({i[:8] for i in ids}) == len(ids)
    # Of two sequences at once none has the other's.
    assert not set(ids) & set(islice(ascending(), 20_000))


def test_the_ascent_begins_anew_where_it_has_no_room_left():
    ids = list(islice(ascending(), 140_000))
    drops = sum(a > b for a, b in pairwise(ids))
    assert 1 <= drops <= 6
    assert len(set(ids)) == len(ids)
