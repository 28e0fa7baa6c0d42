"""What papers printed and claim, beside studies whose truth is known."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stnlab.errors import StnlabError
from stnlab.evaluation import compare, holm
from stnlab.reports import Options, read_study, write_report
from stnlab.reports.claims import decide
from stnlab.reports.papers import read_papers
from stnlab.reports.published import beside

NONE: dict[str, Any] = {"placement": "none"}
INPUT = {"placement": "input", "transform": "affine"}
DEEP = {"placement": "deep", "transform": "affine"}
AS_PRINTED = {"distortion": {"rotation": [-90, 90]}, "train_size": None, "test_distortion": None}
ONCE = {"placement": {"iterations": 1}, "data": AS_PRINTED}
CLAIM = {"claim": "Input errs less", "source": "here", "plus": [INPUT], "minus": [NONE], "below": 0}


def seeds(plan: dict[str, Any], quality: float, count: int = 3, **more: Any) -> list[dict[str, Any]]:
    return [{**plan, "seed": seed, "quality": quality + 0.01 * seed, **more} for seed in range(count)]


def own(folder: Path, *claims: dict[str, Any], **published: Any) -> Path:
    """A folder of papers with one of our own."""
    paper = folder / "papers" / "mine"
    paper.mkdir(parents=True, exist_ok=True)
    about = {"paper": "Mine", "citation": "nobody"}
    if claims:
        (paper / "claims.yaml").write_text(yaml.safe_dump(about | {"claims": list(claims)}))
    if published:
        (paper / "published.yaml").write_text(yaml.safe_dump(about | published))
    return folder / "papers"


def decisions(study: Path, folder: Path, *claims: dict[str, Any]) -> Any:
    (paper,) = [one for one in read_papers(own(folder, *claims)) if one.name == "Mine"]
    return decide(read_study(study), paper)


@pytest.mark.parametrize(
    ("quality", "below", "above"),
    [(6.0, "supported", "contradicted"), (2.5, "contradicted", "supported"), (4.0, "undecided", "undecided")],
)
def test_a_claim_is_decided_as_the_truth_is(quality: float, below: str, above: str, make_study: Any, tmp_path: Path):
    study = make_study(*seeds(NONE, 4.0), *seeds(INPUT, quality), images=1500)
    opposite = {key: value for key, value in CLAIM.items() if key != "below"} | {"above": 0}
    found = decisions(study, tmp_path, CLAIM, opposite)
    assert [one.verdict for one in found] == [below, above]
    none, moved = (row.cell for row in read_study(study).rows)
    (oracle,) = compare([(moved.outcomes, none.outcomes)])
    assert found[0].found.difference == pytest.approx(moved.mean("error") - none.mean("error"))
    assert (found[0].found.low, found[0].found.p) == pytest.approx((oracle.low, oracle.p))
    assert [one.found.p_holm for one in found] == pytest.approx(holm([oracle.p, oracle.p]))


@pytest.mark.parametrize(
    ("quality", "margin", "verdict"),
    [(4.0, 0.04, "supported"), (4.0, 0.0001, "undecided"), (6.0, 0.02, "contradicted")],
)
def test_no_better_needs_a_margin(quality: float, margin: float, verdict: str, make_study: Any, tmp_path: Path):
    """Equal networks are shown to be so within a wide margin only; a better one contradicts that it is none."""
    study = make_study(*seeds(NONE, 4.0), *seeds(INPUT, quality), images=1500)
    claim = {key: value for key, value in CLAIM.items() if key != "below"} | {"above": -margin, "margin": "just so"}
    (found,) = decisions(study, tmp_path, claim)
    assert found.verdict == verdict


def test_a_gain_that_grows_is_a_contrast_of_four_cells(make_study: Any, tmp_path: Path):
    few, many = ({"extra": {"data": {"train_size": size}}} for size in (1000, 5000))
    study = make_study(
        *seeds(NONE, 2.0, **few), *seeds(INPUT, 5.0, **few), *seeds(NONE, 5.0, **many), *seeds(INPUT, 5.5, **many)
    )
    claim = {"claim": "More with few", "source": "here", "below": 0}
    claim |= {"plus": [{**INPUT, "data.train_size": 1000}, {**NONE, "data.train_size": 5000}]}
    claim |= {"minus": [{**NONE, "data.train_size": 1000}, {**INPUT, "data.train_size": 5000}]}
    (found,) = decisions(study, tmp_path, claim)
    error = {
        (row.cell.labels["placement"], row.cell.labels["data.train_size"]): row.cell for row in read_study(study).rows
    }
    gains = [error["input", size].mean("error") - error["none", size].mean("error") for size in ("1000", "5000")]
    assert found.found.difference == pytest.approx(gains[0] - gains[1])
    assert found.verdict == "supported"


def test_cells_that_differ_in_more_than_the_claim_is_about_are_not_mixed(make_study: Any, tmp_path: Path):
    """Two lengths of training are two tests; what has no partner of its own length is in none."""
    longer = {"extra": {"recipe": {"epochs": 16}}}
    alone = {"extra": {"recipe": {"epochs": 32}}}
    study = make_study(
        *seeds(NONE, 4.0), *seeds(INPUT, 6.0), *seeds(NONE, 4.2, **longer), *seeds(INPUT, 6.2, **longer),
        *seeds(INPUT, 6.4, **alone),
    )  # fmt: skip
    found = decisions(study, tmp_path, CLAIM)
    assert [[cell.config["recipe"]["epochs"] for cell in one.cells] for one in found] == [[8, 8], [16, 16]]


def test_an_option_of_a_free_choice_is_free_unless_the_study_varies_it(make_study: Any, tmp_path: Path):
    """Not the best learning rate of one against the worst of the other; defaults, which may differ, are compared."""

    def transform(name: str, rate: float) -> dict[str, Any]:
        return {"placement": "input", "transform": name, "extra": {"transform": {"lr_multiplier": rate}}}

    claim = CLAIM | {"plus": [{"transform": "rotation"}], "minus": [{"transform": "affine"}]}

    def rates() -> list[list[float]]:
        found = decisions(study, tmp_path, claim)
        return [[cell.config["transform"]["lr_multiplier"] for cell in one.cells] for one in found]

    study = make_study(transform("rotation", 0.3), transform("affine", 0.1))
    assert rates() == [[0.3, 0.1]]
    study = make_study(*[transform(name, rate) for name in ("rotation", "affine") for rate in (0.1, 0.3, 3.0)])
    assert rates() == [[0.1, 0.1], [0.3, 0.3], [3.0, 3.0]]


def test_what_cannot_be_tested_is_undecided_and_says_why(make_study: Any, tmp_path: Path):
    turned = {"claim": "Turned", "source": "here", "plus": [INPUT], "below": 0}
    turned |= {"measure": {"rectification/0/rotation/residual": 1, "rectification/0/rotation/input": -1}}
    unheard = {**CLAIM, "measure": {"no/such/measure": 1}}
    study = make_study({**NONE, "end": "failed"}, {**INPUT, "seed": 1}, {**DEEP, "seed": 2}, {**DEEP, "seed": 1})
    shared = {**CLAIM, "plus": [INPUT], "minus": [DEEP]}
    found = decisions(study, tmp_path, CLAIM, turned, {**unheard, "minus": [DEEP]}, shared)
    assert {one.verdict for one in found} == {"undecided"}
    reasons = [one.reason for one in found]
    assert reasons[0] == "none has no results"
    assert reasons[1] == "one seed says nothing of another training"
    assert reasons[2] == "input affine has no no/such/measure"
    assert reasons[3] == ""


def test_the_claims_about_rotation_are_decided_on_the_residuals(make_study: Any):
    """In these made-up runs every transformer undoes most of the rotation, those on features as well."""
    study = make_study(*seeds(INPUT, 6.0, extra=ONCE), *seeds(DEEP, 4.0, extra=ONCE), images=800)
    turned_less = {**ONCE, "data": {**AS_PRINTED, "distortion": {"rotation": [-30, 30]}}}
    study = make_study(*seeds(INPUT, 6.0, extra=turned_less), *seeds(DEEP, 4.0, extra=turned_less))  # not the paper's R
    (paper,) = [one for one in read_papers() if one.name.startswith("Finnveden") and one.claims]
    verdicts = {one.claim.says: one.verdict for one in decide(read_study(study), paper)}
    assert verdicts == {
        "A transformer on the input errs less than one on features (R)": "supported",
        "A transformer on features does not undo rotation (R)": "contradicted",
        "A transformer on the input undoes rotation (R)": "supported",
    }


TABLE = {
    "transcription": "made up",
    "measure": "test/error",
    "tables": [
        {
            "table": "Table 9",
            "note": "of a test",
            "columns": {"R": {"data": "mnist_rotated"}},
            "rows": [{"row": "plain", "where": NONE, "values": {"R": 4.0}}],
        }
    ],
}


def test_a_printed_number_stands_beside_ours(make_study: Any, tmp_path: Path):
    study = make_study(*seeds(NONE, 4.0), *seeds(INPUT, 6.0))
    none = read_study(study).rows[0]
    low, high = 100 * none.error.low, 100 * none.error.high
    for value, covered in ((low + 0.01, True), (high + 0.6, False), (round(high, 1), True), (1e-9, False)):
        table = yaml.safe_load(yaml.safe_dump(TABLE))
        table["tables"][0]["rows"][0]["values"]["R"] = value
        papers = read_papers(own(tmp_path, **table))
        (found,) = beside(read_study(study), papers)
        assert found.difference == pytest.approx(none.cell.mean("error") - value / 100)
        assert found.covered is covered, value
    report = write_report(study, Options(papers=own(tmp_path, CLAIM, **TABLE)))
    texts = {name: (report.folder / name).read_text() for name in ("results.md", "results.tex", "index.html")}
    for name, text in texts.items():
        assert "Mine, Table 9, plain, R" in text, name
        assert "Input errs less" in text, name
        assert "supported" in text, name
        if name != "results.tex":  # which leaves notes to the author
            assert text.count("Mine: nobody") == 2, name  # the citation, below the numbers and below the claims
    assert "Mine, Table 9: of a test" in texts["results.md"]
    ours = f"ours {100 * none.cell.mean('error'):.2f}% ({low:.2f} to {high:.2f}), not covered."
    assert report.beside.summaries[0] == f"none: printed 4% (Mine, Table 9, plain, R), {ours}"
    rows = list(csv.DictReader((report.folder / "results.csv").read_text().splitlines()))
    assert [row["published"] for row in rows] == ["0.04", ""]
    assert float(rows[0]["published_difference"]) == pytest.approx(none.cell.mean("error") - 0.04)
    (claim,) = csv.DictReader((report.folder / "claims.csv").read_text().splitlines())
    assert (claim["paper"], claim["verdict"], claim["seeds"]) == ("Mine", "supported", "3")
    assert np.isclose(float(claim["effect"]), report.rows[1].cell.mean("error") - none.cell.mean("error"))

    plain = write_report(study)
    assert not (plain.folder / "claims.csv").exists()
    assert "Beside the papers" not in (plain.folder / "index.html").read_text()
    assert "published" not in (plain.folder / "results.csv").read_text()


def test_a_study_of_named_cells_lacks_no_combination(make_study: Any):
    plans = [*seeds(NONE, 4.0, 1), *seeds(INPUT, 6.0, 1), *seeds(DEEP, 4.0, 1)]
    plans += [{**INPUT, "extra": {"recipe": {"epochs": 16}}}, {**NONE, "extra": {"recipe": {"epochs": 16}}}]
    assert read_study(make_study(*plans)).missing
    named = [{**plan, "environment": {"overrides": ["cells=[one]"]}} for plan in plans]
    assert not read_study(make_study(*named)).missing


def test_what_the_shipped_files_say_is_sound():
    papers = read_papers()
    printed = [one for paper in papers for one in paper.printed]
    assert len({(one.place, *one.wanted.items()) for one in printed}) == len(printed) == 48
    by_place = {one.place: one for one in printed}
    assert by_place["Table 1, ST-CNN thin-plate, E"].value == pytest.approx(0.011)
    assert by_place["section 4.1, FCN, TC"].rounding == pytest.approx(0.0005)
    claims = [claim for paper in papers for claim in paper.claims]
    assert len({claim.says for claim in claims}) == len(claims)
    assert all(claim.margin for claim in claims if claim.threshold)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"below": None}, "give below or above, a number"),
        ({"below": 0.1}, "say in `margin` why"),
        ({"belove": 0}, r"belove: no such key; did you mean below\?"),
        ({"plus": 3}, "cannot be read"),
        ({"source": None}, "source is missing"),
    ],
)
def test_a_wrong_file_is_one_line(change: dict[str, Any], message: str, tmp_path: Path):
    claim = {key: value for key, value in (CLAIM | change).items() if value is not None}
    with pytest.raises(StnlabError, match=rf"mine/claims\.yaml: .*{message}"):
        read_papers(own(tmp_path, claim))


def test_a_folder_without_papers_is_one_line(tmp_path: Path):
    with pytest.raises(StnlabError, match=r"holds no <paper>/published\.yaml"):
        read_papers(tmp_path)
