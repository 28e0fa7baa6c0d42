"""The command as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest

from stnlab.describe import main
from stnlab.errors import StnlabError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("STNLAB_DATA", "no/such/folder")


def test_the_table_has_a_row_for_each_part_and_the_totals(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    main(["backbone=st_cnn_400k"])
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in rows if row]
    assert [row[:3] for row in rows] == [
        ["0", "input", "1x28x28"],
        [
            "0",
            "transformer: Affine by Conv2d MaxPool2d ReLU Conv2d MaxPool2d ReLU Flatten Linear ReLU Linear",
            "1x28x28",
        ],
        ["1", "stage: Conv2d MaxPool2d ReLU", "64x10x10"],
        ["2", "stage: Conv2d MaxPool2d ReLU", "116x2x2"],
        ["2", "head: Flatten Linear", "10"],
        ["", "transformers", ""],
        ["", "network", ""],
    ]
    assert rows[-1][3:5] == ["400,686", "100.0%"]
    assert rows[-2][3:5] == ["26,896", "6.7%"]
    assert not (tmp_path / "runs").exists()


def test_eighty_columns_cut_nothing_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(["data=svhn_numbers", "backbone=svhn_cnn", "placement=stacked", "placement.depths=[0,1,2,3]"])
    out = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in out
    rows = [line for line in out.splitlines() if line[0] == "│"]
    assert rows
    assert {line[-1] for line in rows} == {"│"}
    assert "transformers" in rows[-2]


def test_it_takes_what_train_takes(capsys: pytest.CaptureFixture[str]):
    main(["-m", "placement=none,deep", "recipe=smoke", "logger=none"])
    assert capsys.readouterr().out.count("Conv2d MaxPool2d ReLU") >= 4


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("placement=inptu", "placement=inptu: no such choice; did you mean input?"),
        ("placement=deep placement.depth=7", "placement.depth=7: there is no such stage"),
        ("seed=-1", "seed=-1: should be greater than or equal to 0"),
        ("--foo", "--foo: no such flag"),
    ],
)
def test_a_wrong_choice_is_the_same_line_as_trains(command: str, message: str):
    with pytest.raises(StnlabError) as caught:
        main(command.split())
    assert str(caught.value).startswith(message)


def test_without_arguments_it_is_the_default_network(capsys: pytest.CaptureFixture[str]):
    main([])
    assert "backbone=cnn placement=input transform=affine" in capsys.readouterr().out


def test_help_says_what_the_columns_mean(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    assert "Multiply-adds are those of convolutions" in capsys.readouterr().out


def test_many_networks_are_not_described_to_a_reader_who_has_gone():
    command = [sys.executable, "-m", "stnlab.describe", "-m", "backbone=cnn", "seed=0,1,2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as describing:
        assert describing.stdout is not None and describing.stderr is not None
        describing.stdout.readline()
        describing.stdout.close()
        assert describing.stderr.read() == ""
    assert describing.returncode in (1, 141)  # rich's own answer, or ours
