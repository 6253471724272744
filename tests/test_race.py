"""Races (``seeds=auto``): sound tests, and sweeps that are functions of their configuration."""

import gzip
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from exact_csv import read_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from servers import dask_cluster
from sweeping import Halted, interrupt_generation, results, run_to_end

import bpexp
from benchmarks.simulations import races as simulations
from bpexp.config.compose import compose_settings
from bpexp.config.schema import SeedsConfig
from bpexp.fields.checks import ConfigError
from bpexp.render import race_plot
from bpexp.reproduce import trajectory
from bpexp.runs.objective import objectives
from bpexp.sweeps import plan_file
from bpexp.sweeps.plan import make_plan
from bpexp.sweeps.race import first_plan, replayed
from bpexp.sweeps.race_result import RacedCombination, RaceResult
from bpexp.sweeps.samplers import betting, racing
from bpexp.sweeps.samplers.racing import Race, RaceEnd, RacingSampler
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate

LOSS, TIME = objectives()["final_loss"], objectives()["epochs_to_converge"]
ACCURACY = objectives()["accuracy"]


def crossing_probability(limit, n):
    """The exact probability that fair bets ever reach a limit within n outcomes 1 and -1."""
    crossed, alive = 0.0, np.array([1.0])
    for played in range(1, n + 1):
        reached = (np.append(alive, 0.0) + np.append(0.0, alive)) / 2.0
        wins = np.arange(played + 1)[:, None]
        capital = ((1 + betting.BETS) ** wins * (1 - betting.BETS) ** (played - wins)).mean(axis=1)
        crossed += reached[capital >= limit].sum()
        alive = np.where(capital >= limit, 0.0, reached)
    return crossed


@pytest.mark.parametrize("limit", [20, 100])
def test_fair_bets_seldom_win_much_at_any_of_many_looks(limit):
    probability = crossing_probability(limit, 120)
    assert 0.2 / limit < probability <= 1 / limit


def test_the_capital_does_not_depend_on_how_outcomes_are_divided_into_blocks():
    outcomes = np.random.default_rng(0).uniform(-1, 1, (3, 40))
    whole = betting.capital_after(outcomes)
    in_parts = betting.capital_after(outcomes[:, 7:], betting.capital_after(outcomes[:, :7]))
    np.testing.assert_array_equal(whole, in_parts)
    expected = [[np.prod(1 + bet * one) for bet in betting.BETS] for one in outcomes]
    np.testing.assert_allclose(whole, expected)
    assert np.isinf(betting.total(betting.capital_after(np.ones(3000))))


def test_the_interval_of_a_median_holds_at_all_numbers_of_seeds_together():
    rng, misses = np.random.default_rng(1), 0
    for _ in range(200):
        sample = np.round(rng.standard_cauchy(120), 1)
        ends = [betting.median_bounds(sample[:n], 1) for n in range(10, 121, 10)]
        misses += any(low > 0.0 or high < 0.0 for low, high in ends)
    assert misses <= 10
    low, high = betting.median_bounds(sample, 1)
    assert low <= np.median(sample) <= high
    assert betting.median_bounds(sample, 20)[0] <= low
    assert np.isnan(betting.median_bounds(sample[:5], 1)).all()


def test_the_interval_of_a_mean_holds_at_all_numbers_of_seeds_together():
    rng, mean, horizon = np.random.default_rng(5), 280.0, 1000.0
    shape = (1000, 120)
    samples = np.where(rng.random(shape) < 0.1, horizon, rng.uniform(100.0, 300.0, shape))
    larger, smaller = 1.0, 1.0
    excluded = []
    for first in range(0, 120, 10):
        block = samples[:, first : first + 10]
        larger = betting.capital_after(block / mean - 1.0, larger)
        smaller = betting.capital_after((mean - block) / (horizon - mean), smaller)
        # 2 / 5% for one interval.
        excluded.append([betting.total(capital) >= 40.0 for capital in (larger, smaller)])
    assert 0.0 < np.any(excluded, axis=(0, 1)).mean() <= 0.05
    # The true mean is outside of the interval exactly where the bets on it win the limit.
    for index in np.flatnonzero(np.any(excluded, axis=(0, 1)))[:10]:
        for look, of_look in enumerate(excluded, start=1):
            low, high = betting.mean_bounds(samples[index, : 10 * look], horizon, 1)
            assert [low > mean, high < mean] == [bool(side[index]) for side in of_look]
    sample = samples[0]
    low, high = betting.mean_bounds(sample, horizon, 1)
    assert 0.0 < low <= sample.mean() <= high < horizon
    wide_low, wide_high = betting.mean_bounds(sample, horizon, 20)
    assert wide_low < low < high < wide_high
    # The ends are where the bets win the limit.
    win = betting.total(betting.capital_after(sample / low - 1.0))
    assert float(win) == pytest.approx(40.0, rel=1e-6)
    win = betting.total(betting.capital_after((high - sample) / (horizon - high)))
    assert float(win) == pytest.approx(40.0, rel=1e-6)
    assert betting.mean_bounds(np.full(30, horizon), horizon, 1)[1] == horizon


def test_worse_means_worse_on_more_seeds_or_a_larger_mean_of_the_epochs():
    scores, others = np.array([1.0, 2.0, np.inf, 5.0]), np.array([2.0, 2.0, np.inf, -np.inf])
    found = racing.outcomes(LOSS, 100.0, scores, others)
    np.testing.assert_array_equal(found, [-1, 0, 0, 1])
    found = racing.outcomes(TIME, 100.0, np.array([10.0, np.inf]), np.array([30.0, 50.0]))
    np.testing.assert_array_equal(found, [-0.2, 0.5])


@pytest.mark.slow
@pytest.mark.parametrize("n_combinations", simulations.RACE_SIZES)
@pytest.mark.parametrize("name", simulations.RACE_DRAWS)
def test_equal_combinations_are_seldom_stopped(name, n_combinations):
    n = 300 if n_combinations < 20 else 100
    share = simulations.race_errors(name, n_combinations, n, np.random.default_rng(n_combinations))
    # Three standard errors above 5%.
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)


def test_a_race_saves_runs_where_combinations_differ_and_keeps_the_best():
    saved, decided, lost = simulations.race_savings(6, 1.5, 100, np.random.default_rng(3))
    assert saved > 0.5
    assert decided > 0.9
    assert lost <= 0.05


def test_the_better_mean_of_epochs_is_kept_although_it_is_slower_on_most_seeds():
    """Faster on 80% of the seeds and without convergence on the others is not better."""
    rng = np.random.default_rng(4)
    risky = np.where(rng.random(200) < 0.8, 100.0, np.inf)
    steady = np.full(200, 200.0)
    scores = np.stack([risky, steady])
    race = Race(2, partial(racing.outcomes, TIME, 1000.0), partial(racing.ranks, TIME, 1000.0))
    for first in range(0, 200, 10):
        race.add(scores[:, first : first + 10])
    assert race.is_racing[1]


def raced(score, n_combinations=3, objective=LOSS, **config):
    """The sampler of a race that has ended, and the jobs of each generation."""
    sampler = RacingSampler(
        [[{"lr": index}] for index in range(n_combinations)],
        SeedsConfig(name="auto", **config),
        objective,
        100.0,
    )
    generations = []
    while jobs := sampler.ask():
        generations.append([(job["lr"], job["seed"]) for job in jobs])
        sampler.tell([score(job["lr"], job["seed"]) for job in jobs])
    return sampler, generations


def test_the_centers_of_a_race_by_epochs_are_the_means_that_rank_it():
    """The steady combination has the better mean, the other one the better median."""
    plan = make_plan([compose_settings({"lr": lr, "stop__loss": 0.1, "epochs": 1000})
                      for lr in (1, 2)])  # fmt: skip
    scores = [np.array([100.0] * 12 + [np.inf] * 8), np.full(20, 200.0)]
    combinations = [
        RacedCombination(job, of_job, True, 1.0, racing.center_of(TIME, 1000.0, of_job, 2))
        for job, of_job in zip(plan.jobs, scores, strict=True)
    ]
    race = RaceResult(
        combinations, 1, RaceEnd.NO_MORE_SEEDS, TIME, SeedsConfig(name="auto", block=10), 1000.0
    )
    first, second = (race.centers_by_seeds(combination) for combination in combinations)
    assert list(first) == list(second) == [10, 20]
    assert (first[20].value, second[20].value) == (460.0, 200.0)
    restricted = np.minimum(scores[0], 1000.0)
    assert first[20][1:] == betting.mean_bounds(restricted, 1000.0, n_intervals=2)
    said = "20 seeds: 2 of 2 combinations race, fewest mean epochs to converge 200 with lr=2"
    assert race.progress == said
    alone = [replace(combinations[0], is_racing=False), combinations[1]]
    said = "20 seeds: 1 of 2 combinations races, fewest mean epochs to converge 200 with lr=2"
    assert replace(race, combinations=alone).progress == f"{said}; stopped as worse: lr=1"
    leader = combinations[1].center
    width = leader.relative_half_width
    assert width == (leader.high - leader.low) / 2 / 200.0
    assert race.verdict.startswith(
        "After 20 seeds, the maximum (seeds.max), half of the width of the 95% interval, "
        f"{leader.low:.4g} to {leader.high:.4g}, is {width:.2g} of the mean: lr=2 leads, but lr=1"
    )
    of_loss = replace(race, objective=LOSS).centers_by_seeds(combinations[0])[20]
    assert (of_loss.value, of_loss.low) == (100.0, 100.0)


def result_of(sampler, objective=LOSS):
    """How a race of the learning rates 1, 2, ... came out."""
    race, k = sampler.race, len(sampler.race.n_seeds)
    plan = make_plan([compose_settings({"lr": lr + 1.0}) for lr in range(k)])
    scores = [race.scores[index, : race.n_seeds[index]] for index in range(k)]
    combinations = [
        RacedCombination(job, of_job, bool(racing_), float(evidence),
                 racing.center_of(objective, 100.0, of_job, k))
        for job, of_job, racing_, evidence in zip(
            plan.jobs, scores, race.is_racing, race.evidence, strict=True
        )
    ]  # fmt: skip
    return RaceResult(
        combinations,
        int(race.best),
        race.end,
        objective,
        SeedsConfig(name="auto", width=None),
        100.0,
    )


def test_a_race_in_which_no_run_converges_decides_nothing():
    sampler, _ = raced(lambda lr, seed: np.inf, 2, objective=TIME, max=20)
    race = result_of(sampler, TIME)
    assert race.verdict.startswith("After 20 seeds, no run has converged within 100 epochs: ")
    assert {race.state(one) for one in race.combinations} == {"no value"}


def test_the_leader_by_the_median_that_is_worse_on_more_seeds_is_not_called_the_best():
    """The second combination is lower on two of three seeds, but has the higher median."""
    scores = np.array([[1.0, 2.0, 3.0], [0.0, 2.5, 2.7]])
    sampler, _ = raced(lambda lr, seed: scores[lr, seed % 3], 2, width=None)
    race = result_of(sampler)
    wins = int(np.sum(sampler.race.scores[1] < sampler.race.scores[0]))
    assert wins == sum(seed % 3 != 1 for seed in range(200))
    # By the exact test, the second one is better beyond doubt.
    assert stats.binomtest(wins, 200, alternative="greater").pvalue < 1e-5
    assert np.median(sampler.race.scores, axis=1).tolist() == [2.0, 2.5]
    assert (race.end, race.is_contradicted, race.is_best) == (RaceEnd.NO_MORE_SEEDS, True, False)
    assert [race.state(one) for one in race.combinations] == ["best median only", "not worse"]
    assert "lr=1 has the lowest median final loss, but has a higher final loss" in race.verdict
    assert "none is called the best" in race.verdict
    assert f"lr=2 has a lower final loss than the first on {wins} of 200 seeds." in race.verdict
    for wrong in ("is the best", "not statistically distinguishable", "ranking by the median"):
        assert wrong not in race.verdict


def test_a_race_says_where_the_ranking_by_the_median_differs():
    """The first one stops against the second, which later stops against the third."""

    def score(lr, seed):
        if lr == 2:
            return 0.5 if seed >= 20 or seed in range(2, 20, 2) else 2.0
        return 1.1 if lr == 0 else 1.0 if seed < 20 else 3.0

    sampler, _ = raced(score, width=None)
    race = result_of(sampler)
    assert (race.end, race.best, race.is_best) == (RaceEnd.DECIDED, 2, False)
    assert race.combinations[0].n_seeds == 10
    assert race.state(race.leader) == "the only one left"
    assert "lr=3 is the only combination left: each of the 2 others has a higher" in race.verdict
    assert (
        "differs: lr=1 has a lower median final loss over the same 10 seeds (1.1 against 2)."
        in (race.verdict)
    )
    assert "lr=1 has a lower final loss than the first on 6 of 10 seeds." in race.verdict
    leader = replace(race.leader, evidence=betting.ALPHA**-1)
    cycle = replace(race, combinations=[*race.combinations[:2], leader])
    assert "than another one on more seeds than not beyond doubt, too." in cycle.verdict


def test_a_median_of_fewer_seeds_that_looks_better_is_explained():
    """The first seeds are easy, so that the one that stopped early has the lowest median."""
    easy = [0.0, 0.5, 5.0]
    sampler, _ = raced(lambda lr, seed: easy[lr] + (seed >= 20) * (3.0 + (lr == 1)), 2, width=None)
    early = replace(result_of(sampler).combinations[1], scores=np.full(20, 1.0), is_racing=False)
    leader = replace(result_of(sampler).combinations[0], scores=np.array([0.5] * 20 + [3.0] * 30))
    race = replace(result_of(sampler), combinations=[leader, early], best=0, end=RaceEnd.DECIDED)
    assert race.is_best
    assert "lr=1 is the best combination: lr=2 has a higher final loss than it" in race.verdict
    assert "lr=2 has a lower median final loss over its 20 seeds than the first over 50 " in (
        race.verdict
    )
    assert "(1 against 3), but not over the same seeds." in race.verdict


@pytest.mark.parametrize(
    ("objective", "worse"),
    [(LOSS, "higher final loss"), (ACCURACY, "lower accuracy"), (TIME, "more epochs on average")],
)
def test_the_best_combination_is_best_in_every_respect(objective, worse):
    sampler, _ = raced(noisy(3.0), objective=objective, width=None)
    race = result_of(sampler, objective)
    assert race.is_best
    assert race.state(race.combinations[0]) == "best"
    assert "lr=1 is the best combination" in race.verdict
    assert worse in race.verdict
    for combination in race.combinations[1:]:
        on_same = race.leader.scores[: combination.n_seeds]
        center = np.mean if objective is TIME else np.median
        assert center(on_same) < center(combination.scores)
        assert np.mean(on_same < combination.scores) > 0.5


def test_a_race_of_one_block_has_whole_numbers_of_seeds():
    seeds, ends = np.array([10]), map(np.array, ([0.2], [0.1], [0.3]))
    center, low, high = ends
    lines = [race_plot.RacedLine(name, "", True, seeds, center, low, high) for name in "abc"]
    drawn = race_plot.race(lines, "median", is_log=False)
    assert drawn is not None
    assert [tick for tick in drawn.axes[0].get_xticks() if 9 < tick < 11] == [10.0]


def noisy(distance):
    """Scores that differ by a distance between combinations, with noise that a seed shares."""

    def score(lr, seed):
        shared, own = np.random.default_rng(seed).normal(size=2), np.random.default_rng([lr, seed])
        return 10.0 + distance * lr + shared[0] + own.normal()

    return score


def test_clearly_worse_combinations_stop_and_the_best_one_is_decided():
    sampler, generations = raced(noisy(3.0))
    assert sampler.race.end == RaceEnd.DECIDED
    assert sampler.race.is_racing.tolist() == [True, False, False]
    assert generations[0] == [(lr, seed) for lr in range(3) for seed in range(10)]
    assert max(seed for jobs in generations for _, seed in jobs) < 50


def test_a_race_ends_with_a_narrow_interval_or_with_the_last_seed():
    sampler, _ = raced(noisy(0.0), width=0.08)
    assert sampler.race.end == RaceEnd.NARROW
    scores = sampler.race.scores[sampler.race.best]
    low, high = betting.median_bounds(scores, 3)
    assert (high - low) / 2 / np.median(scores) <= 0.08
    sampler, generations = raced(noisy(0.0), width=None, max=25)
    assert sampler.race.end == RaceEnd.NO_MORE_SEEDS
    assert [len(jobs) for jobs in generations] == [30, 30, 15]
    assert sampler.race.n_seeds.tolist() == [25, 25, 25]


def test_equal_values_are_ties_and_failed_runs_are_the_worst():
    sampler, _ = raced(lambda lr, seed: 0.5, width=None, max=40)
    np.testing.assert_array_equal(sampler.race.evidence, 1.0)
    sampler, _ = raced(lambda lr, seed: None if lr == 1 else -0.5, objective=ACCURACY, width=None)
    assert sampler.race.is_racing.tolist() == [True, False, True]
    # A diverged run has the accuracy 0.
    sampler, _ = raced(lambda lr, seed: None if lr else -0.0, objective=ACCURACY, max=30)
    assert sampler.race.is_racing.all()


def test_a_race_by_epochs_ends_with_a_narrow_interval_of_the_mean():
    sampler, _ = raced(lambda lr, seed: 50.0 + seed % 9, 2, TIME, width=0.1)
    assert sampler.race.end == RaceEnd.NARROW
    scores = sampler.race.scores[sampler.race.best]
    low, high = betting.mean_bounds(scores, 100.0, n_intervals=2)
    assert 0.05 < (high - low) / 2 / scores.mean() <= 0.1
    # The median is known exactly, but the mean is not, because of the runs that never converge.
    sampler, _ = raced(lambda lr, seed: np.inf if seed % 4 == 3 else 20.0, 2, TIME, max=60)
    assert sampler.race.end == RaceEnd.NO_MORE_SEEDS


def test_one_combination_gets_seeds_until_its_interval_is_narrow():
    sampler, _ = raced(noisy(0.0), n_combinations=1, width=0.1)
    assert sampler.race.end == RaceEnd.NARROW
    assert sampler.race.n_seeds[0] > 10


def test_the_folds_of_a_seed_count_as_one():
    folds = [{"fold": 0}, {"fold": 1}, {"fold": 2}]
    sampler = RacingSampler([folds, folds], SeedsConfig(name="auto", block=2), LOSS, 100.0)
    assert len(sampler.ask()) == 12
    sampler.tell([1.0, 2.0, 9.0, 4.0, 5.0, 6.0] * 2)
    assert sampler.race.scores.tolist() == [[2.0, 5.0], [2.0, 5.0]]


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12), st.floats(0.0, 2.0))
def test_a_race_is_a_function_of_its_configuration_and_scores(
    seed, n_combinations, block, distance
):
    def score(lr, number):
        return np.random.default_rng([seed, lr, number]).normal() + distance * lr

    one, first = raced(score, n_combinations, block=block, max=40)
    two, second = raced(score, n_combinations, block=block, max=40)
    assert first == second
    assert one.race.end == two.race.end
    assert one.race.is_racing.any()
    np.testing.assert_array_equal(one.race.n_seeds, two.race.n_seeds)
    jobs = [job for generation in first for job in generation]
    assert len(jobs) == len(set(jobs)) == one.race.n_seeds.sum()


RACE = ["-m", "lr=0.01,4,5", "epochs=40", "seeds=auto", "seeds.width=null", "seeds.max=30",
        "seeds.block=5"]  # fmt: skip


def stored(folder):
    """The parent of the only sweep, and the settings and result digests of its finished runs."""
    archive = open_archive(locate(None, folder, {}), "bpexp")
    (parent,) = [run for run in archive.search(Query()) if run.is_sweep]
    runs = archive.search(Query(statuses=["FINISHED"], sweep=parent.run_id, are_sweeps=False))
    found = {(run.params["lr"], int(run.params["seed"])): run.tags["bpexp.result"] for run in runs}
    return parent, found, archive


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, put_store):
    """A stored race of three learning rates, trained in one process, and its table."""
    folder = tmp_path_factory.mktemp("race")
    put_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = bpexp.sweep(
            lr=[0.01, 4, 5], epochs=40, seeds="auto", seeds__width=None, seeds__max=30,
            seeds__block=5, backend="serial",
        )  # fmt: skip
    return folder, found


def test_a_race_is_one_sweep_whose_worse_combinations_have_fewer_runs(uninterrupted):
    folder, found = uninterrupted
    parent, runs, archive = stored(folder)
    counts = found.groupby("lr")["seed"].count()
    assert len(runs) == len(found) == counts.sum() < 90
    assert counts[0.01] < counts.max()
    assert found.groupby("lr")["seed"].apply(lambda s: s.tolist() == list(range(len(s)))).all()
    assert parent.name == "race lr, xor, gradient_descent, up to 30 seeds"
    assert parent.tags["bpexp.seeds"] == "auto"
    assert "beyond doubt" in parent.tags["bpexp.verdict"]
    history = archive.client.get_metric_history(parent.run_id, "combinations_in_race")
    points = sorted((point.step, point.value) for point in history)
    assert points[0][0] == 5
    assert [value for _, value in points] == sorted((v for _, v in points), reverse=True)
    table = read_csv(archive.client.download_artifacts(parent.run_id, "race.csv"))
    assert table.set_index("lr")["seeds"].to_dict() == counts.to_dict()
    medians = found.groupby("lr")["final_loss"].median()
    np.testing.assert_allclose(table["final_loss_median"], medians)
    picture = archive.client.download_artifacts(parent.run_id, "race.png")
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_two_workers_stop_the_same_combinations_and_reproduce_checks_it(
    uninterrupted, inside, a_store, tmp_path
):
    done = inside(*RACE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "Race of 3 combinations over lr (3 values): 5 seeds at a time, at most 30, on "
    )
    assert "stopped as worse: " in done.stdout
    assert "worse beyond doubt after" in done.stdout
    parent, runs, _ = stored(tmp_path)
    assert runs == stored(uninterrupted[0])[1]
    assert parent.tags["bpexp.verdict"] in done.stdout
    done = inside("reproduce", "latest")
    assert done.stdout.endswith(f"{len(runs)} of {len(runs)} runs of the race proposed again.\n")
    assert inside("verify", "latest").returncode == 0


@pytest.mark.parametrize("halted", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_race_is_resumed_with_the_same_runs(
    halted, uninterrupted, inside, a_store, tmp_path, monkeypatch
):
    interrupt_generation(monkeypatch, halted)
    assert inside(*RACE, "backend=serial").returncode == 130
    done = inside("resume", "latest")
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path)[1] == stored(uninterrupted[0])[1]


def test_a_budget_ends_a_race_that_resume_goes_on_with(uninterrupted, inside, a_store, tmp_path):
    done = inside(*RACE, "budget.runs=19", "backend=serial")
    assert "The budget is spent: 19 of at most 90 runs are trained." in done.stdout
    parent, _, archive = stored(tmp_path)
    (unchecked,) = trajectory.check(parent, archive, "auto", 1)
    assert unchecked.is_identical is None
    assert "were not proposed again" in unchecked.sentence
    assert inside("resume", "latest").returncode == 0
    assert stored(tmp_path)[1] == stored(uninterrupted[0])[1]


def test_the_report_has_the_verdict_of_the_race_and_no_p_values(uninterrupted, monkeypatch, inside):
    folder, found = uninterrupted
    monkeypatch.chdir(folder)
    parent, _, _ = stored(folder)
    report = bpexp.report("latest")
    assert report.answer.endswith(parent.tags["bpexp.verdict"])
    assert "p_adjusted" not in report.table
    assert report.table["lr"].iloc[-1] == "0.01"
    page = report.files(["html"])["report.html"].decode()
    assert "Waudby-Smith" in page
    assert "p = " not in page
    best = report.table.iloc[0]
    scores = found.loc[found["lr"] == float(best["lr"]), "final_loss"].to_numpy()
    ends = (best["final_loss_median_low"], best["final_loss_median_high"])
    assert ends == betting.median_bounds(scores, 3)
    axes = report.figures["race"].axes[0]
    lines = {line.get_label().partition(":")[0]: line for line in axes.lines}
    assert set(lines) >= {"lr=0.01", "lr=4", "lr=5"}
    for lr, line in ((0.01, lines["lr=0.01"]), (4, lines["lr=4"])):
        values = found.loc[found["lr"] == lr, "final_loss"].to_numpy()
        numbers = np.round(line.get_xdata() / 5).astype(int) * 5
        assert numbers.tolist() == list(range(5, len(values) + 1, 5))
        np.testing.assert_allclose(line.get_ydata(), [np.median(values[:n]) for n in numbers])
    crosses = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "x"]
    assert (found["lr"] == 0.01).sum() in np.round(crosses)
    other = bpexp.report("latest", measure="accuracy")
    assert "race" not in other.figures
    assert "follow from the final loss of all combinations (seeds=auto)" in other.answer
    with pytest.raises(ConfigError, match="are for fixed numbers of seeds"):
        bpexp.report("latest", detect="10%")
    assert "they are too optimistic" in bpexp.report().answer


def test_a_race_without_its_table_of_results_is_not_repeated(uninterrupted, monkeypatch):
    monkeypatch.chdir(uninterrupted[0])
    parent, _, _ = stored(uninterrupted[0])
    file = Path("outputs", "artifacts", parent.run_id, "artifacts", "results.parquet")
    table = file.read_bytes()
    file.unlink()
    try:
        # The rows are those of the store, in another order than the jobs.
        answer = bpexp.report("latest").answer
    finally:
        file.write_bytes(table)
    assert answer.endswith(f"bpexp resume {parent.run_id[:8]} goes on.")


def test_a_race_whose_stored_results_were_changed_does_not_agree(uninterrupted):
    parent, _, archive = stored(uninterrupted[0])
    plan = plan_file.from_bytes(archive.file_if_any(parent, plan_file.NAME))
    with pytest.raises(ConfigError, match="proposes other runs than before"):
        replayed(plan, lambda jobs: [1.0] * len(jobs))


def test_a_report_does_not_use_an_altered_plan(uninterrupted, monkeypatch):
    monkeypatch.chdir(uninterrupted[0])
    parent, _, _ = stored(uninterrupted[0])
    file = Path("outputs", "artifacts", parent.run_id, "artifacts", plan_file.NAME)
    plan = file.read_bytes()
    head, *lines = gzip.decompress(plan).splitlines()
    file.write_bytes(gzip.compress(b"\n".join([head, *lines[:-1]])))
    try:
        with pytest.raises(ConfigError, match=r"plan\.jsonl\.gz of .* was altered"):
            bpexp.report("latest")
    finally:
        file.write_bytes(plan)


def test_sub_sweeps_race_and_repeated_runs_are_trained_once(a_store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    union = "optimizer=momentum optimizer.momentum=0.5,0.9 | optimizer=adam lr=0.01 | lr=0.1"
    found = bpexp.sweep(
        union, "zip(hidden=[2,3],epochs=[20,21])", seeds="auto", seeds__max=4, seeds__block=2,
        seeds__width=None,
    )  # fmt: skip
    assert (
        found.groupby(["optimizer.name", "optimizer.momentum", "hidden"], dropna=False)["seed"]
        .apply(list)
        .tolist()
        == [[0, 1, 2, 3]] * 8
    )


def test_folds_are_trained_for_every_seed():
    settings_ = {"data": "iris", "model": "classifier", "data__folds": 3, "seeds": "auto"}
    composed = [compose_settings({**settings_, "lr": lr, "data__fold": fold, "seeds__block": 4})
                for lr in (0.1, 0.2) for fold in range(3)]  # fmt: skip
    plan = first_plan(make_plan(composed))
    assert len(plan.jobs) == 2 * 4 * 3
    assert plan.max_jobs == 2 * 200 * 3
    assert [job.config.seed for job in plan.jobs[:4]] == [0, 0, 0, 1]


def test_a_dry_run_says_how_many_runs_there_can_be(inside, tmp_path):
    done = inside(*RACE, "--dry-run")
    assert "15 to 90 runs: 5 to 30 seeds of each combination, by the results" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seeds=auto"], "seeds=auto is a sweep: add -m"),
        (["-m", "lr=1,2", "seeds=auto", "seed=1,2"], "seed must be left out with seeds=auto"),
        (["-m", "lr=1 seed=1 | lr=2", "seeds=auto"], "seed must be left out with seeds=auto"),
        (["-m", "lr=1,2", "seeds.max=20"], "go with seeds=auto"),
        (["-m", "lr=1,2", "seeds=3"], "seeds must be"),
        (["-m", "lr=1,2", "seeds=auto", "seeds.max=0"], "seeds.max must be"),
        (["-m", "lr=interval(0,1)", "seeds=auto", "search=tpe"], "seeds=auto goes with a grid"),
        (["-m", "data=xor,parity", "seeds=auto"], "but seeds=auto needs one ranking"),
        (["-m", "+study=rumelhart_1986_symmetry", "seeds=auto"], "seeds must be null in a study"),
        (["-m", "lr=1,2", "seeds=auto", "seeds.max=1000000"], "at most 1000000 runs"),
        (["-m", "lr=1,2", "seeds=auto", "model.init_seed=5"], "leave out model.init_seed or"),
        (["-m", "data=iris", "seeds=auto", "model.init_seed=0,1"], "nothing is drawn from it"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(refused, tmp_path, arguments, message):
    assert message in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_python_refuses_a_seed():
    with pytest.raises(ConfigError, match="seed must be left out with seeds=auto"):
        bpexp.sweep(lr=[1, 2], seed=[1, 2], seeds="auto")


@pytest.mark.slow
def test_an_extended_race_has_the_runs_of_one_with_more_seeds_from_the_start(
    uninterrupted, inside, a_store, tmp_path
):
    assert inside(*RACE[:-2], "seeds.max=10", "seeds.block=5").returncode == 0
    for arguments, message in [
        (["seed=50"], "is extended by seeds.max=N alone, got seed=50"),
        (["seeds.max=10"], "seeds.max must be above 10, got 10"),
    ]:
        done = inside("extend", "latest", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
    done = inside("extend", "latest", "seeds.max=30")
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path)[1] == stored(uninterrupted[0])[1]
    assert inside("reproduce", "latest").stdout.endswith("runs of the race proposed again.\n")


@pytest.mark.long
@pytest.mark.parametrize("at", ["planned", "tracked"])
def test_a_killed_race_is_resumed_with_the_same_runs(at, uninterrupted, tmp_path):
    Halted(tmp_path, *RACE, at=at).kill()
    assert run_to_end(tmp_path, "resume", "latest") == (0, "")
    assert stored(tmp_path)[1] == stored(uninterrupted[0])[1]
    assert results(tmp_path) == results(uninterrupted[0])


@pytest.mark.long
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_race_on_dask_stops_the_same_combinations(engine, uninterrupted, tmp_path):
    with dask_cluster(tmp_path) as cluster:
        where = ["backend=dask", f"backend.address={cluster.address}", f"engine={engine}"]
        assert run_to_end(tmp_path, *RACE, *where) == (0, "")
    parent, runs, _ = stored(tmp_path)
    assert runs == stored(uninterrupted[0])[1]
    assert parent.tags["bpexp.verdict"] == stored(uninterrupted[0])[0].tags["bpexp.verdict"]
    assert results(tmp_path) == results(uninterrupted[0])


@pytest.mark.long
def test_a_race_that_is_killed_on_dask_is_resumed_here(uninterrupted, tmp_path):
    with dask_cluster(tmp_path) as cluster:
        where = ["backend=dask", f"backend.address={cluster.address}"]
        Halted(tmp_path, *RACE, *where, at="tracked").kill()
    assert run_to_end(tmp_path, "resume", "latest", "--backend", "local") == (0, "")
    assert stored(tmp_path)[1] == stored(uninterrupted[0])[1]
    assert results(tmp_path) == results(uninterrupted[0])
