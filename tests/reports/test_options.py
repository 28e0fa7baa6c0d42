"""What a report is asked on the command line."""

import re

import pytest

from stnlab.errors import StnlabError
from stnlab.reports import Options, write_report
from stnlab.reports.options import parse


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x", "row=placement"], "row=placement: no such option; did you mean rows?"),
        (["x", "rows="], "rows=: needs a value"),
        (["x", "--all"], "--all: no such option"),
        (["rows=placement"], "a path comes first"),
        (["x", "cells=all", "cells=all"], "cells= is given twice"),
    ],
)
def test_a_wrong_option_is_one_line(arguments, says):
    with pytest.raises(StnlabError, match=re.escape(says)) as caught:
        parse(arguments)
    assert "\n" not in str(caught.value)


def test_wrong_values_are_refused_before_anything_is_written(make_study, tmp_path):
    path = make_study({"placement": "none"}, {"placement": "input", "transform": "affine"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    for options, says in (
        (Options(output=tmp_path / "mine"), "is no report and not empty"),
        (Options(measures=("test/eec",)), "no run has it; did you mean test/ece?"),
        (Options(cells="placement=deep"), "placement is input or none"),
    ):
        with pytest.raises(StnlabError, match=says):
            write_report(path, options)
        assert not (path / "report" / "index.html").exists()
