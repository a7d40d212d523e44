"""Which routes and seeds an evaluation is asked for."""

from __future__ import annotations

import pytest

from autovla_core.errors import RouteError
from autovla_core.evaluation.choice import choose, seeds_of
from autovla_core.evaluation.route_file import Route

POINTS = ((0.0, 0.0, 0.0), (10.0, 0.0, 0.0))
ROUTES = [Route(id, "Town12", POINTS) for id in ("7", "3", "12", "a-b", "9")]


@pytest.mark.parametrize(
    ("subset", "ids"),
    [
        ("", ["7", "3", "12", "a-b", "9"]),
        ("12", ["12"]),
        ("9, 7", ["7", "9"]),
        ("3-9", ["3", "12", "a-b", "9"]),
        ("a-b,7-3", ["7", "3", "a-b"]),
    ],
)
def test_routes_are_chosen_by_id_and_range_and_keep_their_order(subset, ids):
    assert [route.id for route in choose(ROUTES, subset)] == ids


@pytest.mark.parametrize(
    ("subset", "complaint"),
    [
        ("999", "no route has the id '999'; the file has 7, 3, 12, a-b, 9"),
        ("7,8", "no route has the id '8'"),
        ("7,", "no route has the id ''"),
        ("3-999", "no route has the id '999'"),
        ("9-7", "route 9 comes after route 7"),
    ],
)
def test_an_id_that_no_route_has_is_an_error_even_beside_known_ones(subset, complaint):
    with pytest.raises(RouteError, match=complaint):
        choose(ROUTES, subset)


def test_an_error_lists_no_more_ids_than_one_reads():
    many = [Route(str(n), "Town12", POINTS) for n in range(220)]
    with pytest.raises(RouteError, match="0, 1, .* 59 and 160 more"):
        choose(many, "x")


def test_seeds_are_whole_numbers():
    assert seeds_of("0, 2,2") == [0, 2, 2]
    for text in ("a", "0,,1", "", "-1", "1.5", "²"):
        with pytest.raises(RouteError, match="expected whole numbers from 0 on"):
            seeds_of(text)
