import pytest

from stnlab.evaluation.catalogue import PLACES, ROWS, explanations, is_headline
from stnlab.evaluation.measure_intervals import RANGES


@pytest.mark.parametrize(
    "name",
    [
        "val/ece",
        "test/brier_reliability_low",
        "temperature/value",
        "temperature/ece_high",
        "temperature/aurc_low",
        "by_pose/scale/overconfidence_at_low",
        "by_pose/scale/overconfidence_at_high_low",
        "by_pose/shift/02/confidence_high",
        "by_pose/shift/02/gap",
        "invariance/scale/whole/ece",
        "invariance/scale/x2.00/cut",
        "by_pose/shear/09/ece_low",
        "invariance/rotation/+030/total_variation",
        "invariance/scale/x1.41/accuracy",
        "invariance/scale/inside/agreement",
        "rectification/0/rotation/class_7/residual",
        "equivariance/shift/depth_2",
        "health/collapsed",
    ],
)
def test_a_name_is_explained_once(name: str):
    assert len(explanations(name)) == 1


def test_what_no_run_writes_is_not_explained():
    for name in ("test/eces", "val/mce", "temperature/error", "test/n_low", "by_pose/rotation/3/error"):
        assert explanations(name) == []
    for name in ("temperature/error_low", "by_pose/scale/overconfidence_at_extremes", "invariance/scale/cut"):
        assert explanations(name) == []


def test_each_explanation_says_of_which_images():
    for name in ("ece", "nll", "brier"):
        assert len({explanations(f"{split}/{name}")[0].meaning for split in ("test", "val", "temperature")}) == 3


def test_a_table_for_people_is_short():
    assert is_headline("test/gap")
    assert is_headline("by_pose/rotation/overconfidence_at_extremes")
    assert not is_headline("test/gap_low")
    assert not is_headline("by_pose/rotation/03/error")


def test_places_are_used_and_measures_complete():
    assert all(any(f"<{place}>" in row.pattern for row in ROWS) for place in PLACES)
    assert PLACES["measure"][0].split("|") == list(RANGES)
