"""Lines of the last minutes, as points in a picture of 300 by 40."""

from saga.runtime.console.sparkline import GAP, WINDOW, sparkline


def test_line_leads_from_left_to_right_and_its_peak_is_the_top():
    drawn = sparkline([(700.0, 0.0), (705.0, 4.0), (710.0, 2.0)], 710.0)
    assert drawn.pieces == ["290.0,39.0 295.0,1.0 300.0,20.0"]
    assert (drawn.peak, drawn.last) == (4.0, 2.0)


def test_where_nobody_looked_or_knew_there_is_a_gap():
    seen = [(0, 1.0), (2, 1.0), (4, None), (6, 1.0), (8, 1.0), (8 + GAP + 1, 1.0), (21, 1.0)]
    assert len(sparkline(seen, 21.0).pieces) == 3


def test_looks_that_are_just_near_enough_are_joined():
    assert len(sparkline([(0, 1.0), (GAP, 1.0)], GAP).pieces) == 1


def test_what_is_older_than_the_window_is_not_drawn():
    drawn = sparkline([(0, 90.0), (1, 5.0), (2, 5.0)], WINDOW + 1)
    assert (drawn.peak, len(drawn.pieces)) == (5.0, 1)


def test_what_is_always_0_is_at_the_bottom():
    assert sparkline([(0, 0.0), (2, 0.0)], 2.0).pieces == ["298.0,39.0 300.0,39.0"]


def test_one_point_is_no_line_and_nothing_is_nothing():
    assert sparkline([(0, 1.0)], 0.0) == ([], 1.0, 1.0)
    assert sparkline([], 0.0) == ([], 0.0, None)
    assert sparkline([(0, 1.0), (1, None)], 1.0).last is None
