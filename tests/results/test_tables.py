import pandas as pd
import pytest

from bayes_gmm.results.tables import Printed, as_text, counted, number, wrapped


@pytest.mark.parametrize(
    ("value", "sd", "written"),
    [
        (2.03641, 0.0268, "2.036"),
        (79.96812, 0.46, "79.97"),
        (-79.96812, 4.6, "-80.0"),
        (123456.7, 2300.0, "123457"),
        (3.512345e-12, 2.1e-14, "3.512e-12"),
        (1.23456789e12, 1e8, "1.23457e+12"),
        (-0.001, 0.2, "0.00"),
        (0.0, 1e-12, "0"),
        (0.25, 0.0, "0.25"),
        (0.123456789, float("nan"), "0.123457"),
        (float("nan"), 1.0, "-"),
        (float("inf"), 1.0, "-"),
    ],
)
def test_a_number_has_the_digits_that_its_uncertainty_leaves(value, sd, written):
    assert number(value, sd) == written


def test_columns_are_aligned():
    frame = pd.DataFrame(
        {"a": ["1", "22"], "long": ["x", ""]}, index=pd.Index(["p", "qq"], name="i")
    )
    assert as_text(frame).splitlines() == ["i    a  long", "p    1     x", "qq  22"]


class Three(Printed):
    def _parts(self, *, html):
        frame = pd.DataFrame({"<i>": ["&"]}, index=pd.Index(["p"], name="i"))
        return ["a < b", [frame, "x > y"], []]


def test_one_list_of_parts_makes_text_and_html():
    assert str(Three()) == repr(Three()) == "a < b\n\ni  <i>\np    &\nx > y"
    html = Three()._repr_html_()
    assert "a &lt; b" in html
    assert "&lt;i&gt;" in html
    assert "<p>x &gt; y</p>" in html


def test_counts_and_lines():
    assert (counted(1, "row"), counted(2, "row"), counted(0, "row")) == (
        "1 row",
        "2 rows",
        "0 rows",
    )
    assert max(map(len, wrapped("word " * 50).splitlines())) <= 100
