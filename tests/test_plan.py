"""Plans that grow by generations, and the files in which they are stored."""

import gzip
import itertools

from hypothesis import given
from hypothesis import strategies as st

from bpexp.config.compose import compose_settings
from bpexp.runs import identity
from bpexp.sweeps import plan_file
from bpexp.sweeps.plan import make_plan

POOL = [
    compose_settings({"lr": lr, "seed": seed, **own})
    for lr, seed in itertools.product((0.1, 1), (0, 1))
    for own in (
        {},
        {"hidden": 3, "model__init_seed": 5},
        {"optimizer": {"name": "momentum", "momentum": 0.5}},
        {"optimizer": {"name": "momentum", "momentum": 0.9}},
        {"optimizer": "adam"},
        {"data": "parity", "data__bits": 3},
    )
]


@given(st.lists(st.lists(st.sampled_from(POOL), min_size=1, max_size=3), min_size=2, max_size=5))
def test_generations_give_the_plan_of_all_jobs_and_each_file_has_those_so_far(generations):
    plan, encoder = make_plan(generations[0]), plan_file.PlanEncoder()
    for generation in generations[1:]:
        plan = plan.with_generation(generation)
        content = encoder.to_bytes(plan)
        assert content == plan_file.to_bytes(plan)
        restored = plan_file.from_bytes(content)
        assert (restored.jobs, restored.generations) == (plan.jobs, plan.generations)
    at_once = make_plan(itertools.chain.from_iterable(generations))
    assert (plan.jobs, plan.varying) == (at_once.jobs, at_once.varying)


def test_a_generation_encodes_only_its_own_jobs(monkeypatch):
    plan, encoder = make_plan(POOL[:6]), plan_file.PlanEncoder()
    encoder.to_bytes(plan)
    encoded = []
    of_run = identity.of_run
    monkeypatch.setattr(identity, "of_run", lambda *job: encoded.append(job) or of_run(*job))
    encoder.to_bytes(plan.with_generation(POOL[6:8]))
    assert len(encoded) == 2


def test_a_plan_file_of_one_gzip_member_is_read():
    plan = make_plan(POOL[:2]).with_generation(POOL[2:3])
    content = gzip.compress(gzip.decompress(plan_file.to_bytes(plan)))
    assert plan_file.from_bytes(content).jobs == plan.jobs
