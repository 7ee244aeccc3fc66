"""Figures beside which ours stand come from rliable 1.2.0 and SciPy 1.17.1; see each comment."""

import math

import numpy as np
import pytest

from gym_loop.report import statistics as st

rng = np.random.default_rng(7)
OURS = rng.normal([1.0, 2.0, 3.0, 0.5], [0.5, 1.0, 0.7, 0.2], (10, 4)).round(3)
THEIRS = rng.normal([0.6, 1.0, 3.1, 0.3], [0.5, 1.0, 0.7, 0.2], (10, 4)).round(3)


class TestBesideRliable:
    """Printed by ``rly.get_interval_estimates({"ours": OURS}, ..., reps=50_000)`` of rliable."""

    def test_mean(self) -> None:
        found = st.aggregate([*OURS.T])
        assert found.value == pytest.approx(1.36915, abs=1e-9)
        assert found.low == pytest.approx(1.21457, abs=0.01)
        assert found.high == pytest.approx(1.52415, abs=0.01)

    def test_interquartile_mean(self) -> None:
        found = st.aggregate([*OURS.T], st.interquartile_mean)
        assert found.value == pytest.approx(1.1601, abs=1e-9)
        assert found.low == pytest.approx(1.02225, abs=0.01)
        assert found.high == pytest.approx(1.33025, abs=0.01)

    def test_performance_profile(self) -> None:
        # rly.create_performance_profile({"ours": OURS}, levels, reps=20_000)
        shares, low, high = st.performance_profile([*OURS.T], [0.0, 0.5, 1.0, 2.0, 3.0])
        assert shares == pytest.approx([1.0, 0.8, 0.575, 0.25, 0.075], abs=1e-9)
        assert low == pytest.approx([1.0, 0.7, 0.5, 0.15, 0.0], abs=0.03)
        assert high == pytest.approx([1.0, 0.9, 0.65, 0.35, 0.15], abs=0.03)

    def test_probability_of_improvement(self) -> None:
        # rly.get_interval_estimates({"p": (OURS, THEIRS)}, metrics.probability_of_improvement)
        found = st.probability_of_improvement([*OURS.T], [*THEIRS.T])
        assert found.value == pytest.approx(0.61, abs=1e-9)
        assert found.low == pytest.approx(0.495, abs=0.03)
        assert found.high == pytest.approx(0.7175, abs=0.03)


class TestByHand:
    def test_interquartile_mean_of_eight(self) -> None:
        scores = np.array([[100.0, 1, 2, 3, 4, 5, 6, -50]])
        assert st.interquartile_mean([scores]) == pytest.approx([(2 + 3 + 4 + 5) / 4])

    def test_interquartile_mean_of_three_is_their_mean(self) -> None:
        assert st.interquartile_mean([np.array([[1.0, 2.0, 9.0]])]) == pytest.approx([4.0])

    def test_tasks_may_differ_in_their_runs(self) -> None:
        assert st.aggregate([[1.0, 3.0], [10.0]]).value == 6.0
        assert st.aggregate([[1.0, 3.0], [10.0]], st.interquartile_mean).value == pytest.approx(
            (1 + 3 + 10) / 3
        )

    def test_one_run_a_task_has_no_interval(self) -> None:
        found = st.aggregate([[4.0], [6.0]])
        assert found.value == 5.0
        assert math.isnan(found.low)

    def test_normalized(self) -> None:
        assert st.normalized([-10.0, 0.0, 30.0], -10, 30).tolist() == [0.0, 0.25, 1.0]
        assert st.normalized([5.0, 5.0], 5, 5).tolist() == [0.0, 0.0]

    def test_improvement_with_ties(self) -> None:
        found = st.probability_of_improvement([[1.0, 2.0]], [[1.0, 0.0]])
        assert found.value == (0.5 + 1 + 1 + 1) / 4

    def test_improvement_of_all_over_all_is_not_certain(self) -> None:
        few = st.probability_of_improvement([[4.0, 5.0, 6.0]], [[1.0, 2.0, 3.0]])
        many = st.probability_of_improvement([range(10, 20)], [range(10)])
        assert few.value == many.value == few.high == 1.0
        assert 0.4 < few.low < 0.6
        assert 0.75 < many.low < 0.9

    def test_improvement_and_its_mirror_image(self) -> None:
        ours = st.probability_of_improvement([*OURS.T], [*THEIRS.T])
        theirs = st.probability_of_improvement([*THEIRS.T], [*OURS.T])
        assert theirs.value == pytest.approx(1 - ours.value)
        assert theirs.low == pytest.approx(1 - ours.high)

    def test_area_under_curve(self) -> None:
        assert st.area_under_curve([0, 10, 30], [0.0, 10.0, 10.0]) == (50 + 200) / 30
        assert st.area_under_curve([5], [3.0]) == 3.0
        assert math.isnan(st.area_under_curve([], []))

    def test_steps_to_threshold(self) -> None:
        assert st.steps_to_threshold([10, 20, 30], [1.0, 5.0, 2.0], 5.0) == (20.0, True)
        assert st.steps_to_threshold([10, 20, 30], [1.0, 4.0, 2.0], 5.0) == (30.0, False)
        assert st.steps_to_threshold([], [], 5.0) == (0.0, False)

    def test_survival_without_censoring_is_the_mean(self) -> None:
        found = st.survival([10.0, 20.0, 60.0], [True, True, True])
        assert found.median == 20.0
        assert found.restricted_mean.value == pytest.approx(30.0)
        assert (found.reached, found.runs) == (3, 3)

    def test_survival_that_nobody_ends(self) -> None:
        found = st.survival([50.0, 80.0], [False, False])
        assert found.median == math.inf
        assert found.restricted_mean == st.Estimate(80.0, 80.0, 80.0)

    def test_few_seeds(self) -> None:
        assert st.few_seeds([5, 9]) is None
        assert "3 runs" in (st.few_seeds([3, 9]) or "")
        assert "1 run where" in (st.few_seeds([1]) or "")


class TestBesideScipy:
    A = (27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4)
    B = (27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4)

    def test_welch(self) -> None:
        # stats.ttest_ind(A, B, equal_var=False), and its confidence_interval()
        found = st.welch(self.A, self.B)
        assert found.t == pytest.approx(-2.455356398286006)
        assert found.freedom == pytest.approx(24.988529290231416)
        assert found.p == pytest.approx(0.021378001462866992)
        assert found.difference[1:] == pytest.approx((-3.984096267140929, -0.3492370661924069))

    @pytest.mark.parametrize(
        ("freedom", "quantile"),
        [(1, 12.706204736174694), (2.5, 3.5746548420036817), (4, 2.7764451051977934),
         (30, 2.0422724563012378), (1e4, 1.960201239890626)],
    )  # fmt: skip
    def test_student_quantile(self, freedom: float, quantile: float) -> None:
        # stats.t.ppf(0.975, freedom)
        assert st.student_quantile(0.975, freedom) == pytest.approx(quantile, rel=1e-9)

    @pytest.mark.parametrize(
        ("freedom", "tail"),
        [(1, 0.13054758708862277), (4, 0.04146951855619118), (50, 0.012829566149062818)],
    )
    def test_student_tail(self, freedom: float, tail: float) -> None:
        # stats.t.sf(2.3, freedom)
        assert st.student_tail(2.3, freedom) == pytest.approx(tail, rel=1e-9)

    def test_welch_of_equal_values(self) -> None:
        assert st.welch([2.0, 2.0], [2.0, 2.0]).p == 1.0
        assert st.welch([2.0, 2.0], [3.0, 3.0]).p == 0.0

    def test_kaplan_meier(self) -> None:
        # The leukaemia trial of Freireich (1963): median 23; the survival function is that of
        # stats.ecdf(CensoredData.right_censored(...)), whose area to 35 is the restricted mean.
        times = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
        found = st.survival(times, [True] * 9 + [False] * 12)
        moments = [0, 6, 7, 10, 13, 16, 22, 23, 35]
        heights = [1, 0.85714286, 0.80672269, 0.75294118, 0.69019608, 0.62745098, 0.53781513,
                   0.44817927]  # fmt: skip
        assert found.median == 23.0
        assert found.restricted_mean.value == pytest.approx(np.dot(np.diff(moments), heights))
        assert (found.reached, found.runs, found.horizon) == (9, 21, 35.0)


class TestCoverage:
    """How often a 95 % interval holds the truth, in 400 experiments: deviation 1.1 %."""

    def test_mean_of_twenty(self) -> None:
        draw = np.random.default_rng(1)
        held = 0
        for _ in range(400):
            found = st.aggregate([draw.normal(3.0, 2.0, 20), draw.exponential(1.0, 20)],
                                 resamples=400)  # fmt: skip
            held += found.low <= 2.0 <= found.high
        assert 0.90 <= held / 400 <= 0.98

    def test_interquartile_mean_of_forty(self) -> None:
        draw = np.random.default_rng(2)
        held = 0
        for _ in range(400):
            # Symmetric with heavy tails: what the mean is bad at.
            found = st.aggregate([draw.standard_t(2, 40)], st.interquartile_mean, resamples=400)
            held += found.low <= 0.0 <= found.high
        assert 0.90 <= held / 400 <= 0.98

    @pytest.mark.parametrize("count", [5, 10])
    def test_probability_of_improvement(self, count: int) -> None:
        draw = np.random.default_rng(3)
        truth = 0.5 * (1 + math.erf(1 / math.sqrt(2) / math.sqrt(2)))  # of N(1, 1) over N(0, 1)
        held = 0
        for _ in range(400):
            found = st.probability_of_improvement(
                [draw.normal(1.0, 1.0, count)], [draw.normal(0.0, 1.0, count)]
            )
            held += found.low <= truth <= found.high
        assert 0.92 <= held / 400 <= 0.995

    def test_welch_with_five_and_unequal_spreads(self) -> None:
        draw = np.random.default_rng(4)
        found = [st.welch(draw.normal(0, 1, 5), draw.normal(0, 4, 5)) for _ in range(300)]
        held = np.mean([one.difference.low <= 0 <= one.difference.high for one in found])
        assert 0.92 <= held <= 0.985
        assert np.mean([one.p < 0.05 for one in found]) == pytest.approx(1 - held)

    def test_restricted_mean(self) -> None:
        draw = np.random.default_rng(5)
        truth = 1 - math.exp(-1)  # mean of min(exponential, 1)
        held = 0
        for _ in range(400):
            times, ends = draw.exponential(1.0, 40), np.minimum(draw.exponential(3.0, 40), 5.0)
            found = st.survival(np.minimum(times, ends), times <= ends, horizon=1.0)
            held += found.restricted_mean.low <= truth <= found.restricted_mean.high
        assert 0.90 <= held / 400 <= 0.98
