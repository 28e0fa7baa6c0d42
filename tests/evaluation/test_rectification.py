import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import circstd

from stnlab.evaluation.rectification import GRID, circular_deviation, motion, rectification
from stnlab.runs.predictions import CORNERS, LANDMARKS

CANVAS = (28, 28)
COUNT = 20_000


def maps(angle: np.ndarray, scale: np.ndarray | float = 1.0, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """Landmarks [M, 9, 2] of similarities; angles in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1) * np.reshape(scale, (-1, 1, 1))
    return np.einsum("mij,pj->mpi", matrix, GRID) + (np.zeros((len(angle), 2)) + shift)[:, None]


def measured(
    poses: np.ndarray, residuals: np.ndarray, labels: np.ndarray, canvas: tuple[int, int] = CANVAS
) -> dict[str, float]:
    return rectification(poses[:, None], residuals[:, None, None], labels[:, None], canvas)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_landmarks_are_those_that_are_saved():
    np.testing.assert_array_equal(GRID, LANDMARKS)


def test_motion_is_the_least_squares_map_and_its_nearest_rotation(random: np.random.Generator):
    landmarks = GRID + random.normal(size=(50, 9, 2))
    found = motion(landmarks, (2, 2))  # of half-size 1: pixels are normalised units
    ones = np.column_stack([GRID, np.ones(9)])
    for number, points in enumerate(landmarks):
        linear = np.linalg.lstsq(ones, points, rcond=None)[0][:2].T
        assert found.log2_scale[number] == pytest.approx(np.log2(np.sqrt(abs(np.linalg.det(linear)))))
        # Kabsch: the rotation that fits best is the nearest one to the linear map, since the landmarks are isotropic
        padded = [np.column_stack([rows, np.zeros(9)]) for rows in (points - points.mean(0), GRID)]
        nearest = Rotation.align_vectors(*padded)[0].as_matrix()
        if np.linalg.det(linear) > 0 and nearest[2, 2] > 0:
            assert found.angle[number] == pytest.approx(np.arctan2(nearest[1, 0], nearest[0, 0]))
        np.testing.assert_allclose(found.centre[number], points[4])
        np.testing.assert_allclose(found.corners[number], points[list(CORNERS)])


def test_angles_are_those_of_pixels_on_a_wide_canvas():
    angle = np.array([0.5])
    pixels = np.array([64, 32]) / 2  # x, y
    landmarks = np.einsum("ij,pj->pi", Rotation.from_rotvec([0, 0, 0.5]).as_matrix()[:2, :2], GRID * pixels) / pixels
    assert motion(landmarks[None], (32, 64)).angle == pytest.approx(angle)


def test_circular_deviation_is_scipys_and_pools_lengths(random: np.random.Generator):
    first, second = random.vonmises(3, 2, 300), random.vonmises(-1, 0.5, 100)
    assert circular_deviation(first, np.zeros(300)) == pytest.approx(circstd(first))
    groups = np.repeat([7, 2], [300, 100])
    lengths = [np.exp(-(circstd(one) ** 2) / 2) for one in (first, second)]
    pooled = np.sqrt(-2 * np.log((300 * lengths[0] + 100 * lengths[1]) / 400))
    assert circular_deviation(np.concatenate([first, second]), groups) == pytest.approx(pooled)
    assert circular_deviation(np.array([0, np.pi]), np.zeros(2)) < 8.6  # no length at all: large, not infinite


def test_rotations_of_90_degrees_have_the_deviation_of_the_formula(random: np.random.Generator):
    angle = random.uniform(-np.pi / 2, np.pi / 2, COUNT)
    labels = random.integers(10, size=COUNT)
    poses = maps(angle)
    found = measured(poses, poses, labels)
    closed = np.degrees(np.sqrt(-2 * np.log(2 / np.pi)))  # R of a uniform angle up to a is sin(a) / a
    assert found["0/rotation/input"] == pytest.approx(closed, rel=0.02)
    for name, value in found.items():  # an identity warp leaves everything as it was
        if name.endswith("input"):
            assert found[name.replace("input", "residual")] == value
    assert {f"0/rotation/class_{label}/input" for label in range(10)} <= found.keys()
    assert not [name for name in found if "scale" in name or "shift" in name]  # never varied


def test_a_perfect_warp_leaves_nothing_whatever_pose_a_class_ends_in(random: np.random.Generator):
    labels = random.integers(3, size=COUNT)
    angle, scale = random.uniform(-1, 1, COUNT), np.exp(random.uniform(-0.5, 0.5, COUNT))
    own = np.array([0.0, 2.0, -1.5])[labels]  # each class is turned and scaled in its own way
    found = measured(maps(angle, scale), maps(own, 1 + labels), labels)
    for name, value in found.items():
        if name.endswith("residual"):
            assert value == pytest.approx(0, abs=1e-4), name
    assert found["0/scale/input"] == pytest.approx(1 / np.sqrt(12) / np.log(2), rel=0.02)


def test_noise_of_known_size_is_found(random: np.random.Generator):
    labels = random.integers(10, size=COUNT)
    angle, log2_scale = random.normal(0, 0.2, COUNT), random.normal(0, 0.3, COUNT)
    shift = random.normal(0, 0.1, (COUNT, 2))
    left = maps(angle, 2**log2_scale, shift)
    found = measured(maps(random.uniform(-1, 1, COUNT)), left, labels)
    assert found["0/rotation/residual"] == pytest.approx(np.degrees(0.2), rel=0.02)
    assert found["0/scale/residual"] == pytest.approx(0.3, rel=0.02)
    assert found["0/shift/residual"] == pytest.approx(np.sqrt(2) * 0.1 * 14, rel=0.02)
    only_shifted = measured(maps(angle), maps(angle * 0, 1, shift), labels)
    rayleigh = np.sqrt(np.pi / 2) * 0.1 * 14  # mean length of such a shift, the same for all corners
    assert only_shifted["0/corners/residual"] == pytest.approx(rayleigh, rel=0.02)


def test_several_objects_are_samples_of_their_own(random: np.random.Generator):
    poses = np.stack([maps(np.full(200, 0.3)), maps(random.uniform(-1, 1, 200))], 1)
    still = np.stack([maps(np.full(200, angle)) for angle in (0.1, 2.0)], 1)
    labels = np.repeat([0, 1], 100)[:, None]
    found = rectification(poses, np.stack([poses, still], 1), labels, CANVAS)
    assert found["1/rotation/residual"] == pytest.approx(0, abs=1e-5)
    assert found["0/rotation/residual"] == found["0/rotation/input"] > 1
    assert not [name for name in found if "class" in name]


def test_a_warp_that_is_no_number_has_no_measure_and_one_to_a_point_has_finite_ones():
    poses = maps(np.linspace(-1, 1, 50))
    broken, point = poses.copy(), np.zeros_like(poses)
    broken[3] = np.nan
    found = rectification(poses[:, None], np.stack([broken, point], 1)[:, :, None], np.zeros((50, 1), int), CANVAS)
    assert not [name for name in found if name.startswith("0/")]
    assert all(np.isfinite(value) for value in found.values())
    assert found["1/corners/residual"] == 0
