"""What the expert sees of a running minicarla."""

from __future__ import annotations

import carla

from autovla_core.carla_bridge.privileged import PrivilegedView
from autovla_core.carla_bridge.route_planner import route_plan


def test_actors_that_wait_far_below_the_road_are_not_in_the_scene(stage):
    """The official scenarios keep theirs 50 to 500 m below it until their entrance."""
    start = stage.straight(40.0)
    ahead = start.get_forward_vector()
    way = [carla.Transform(start.location + ahead * float(metres), start.rotation) for metres in range(41)]
    ego, other = stage.car(start), stage.car(carla.Transform(way[20].location, start.rotation))
    stage.tick(2)
    view = PrivilegedView(stage.world, ego, route_plan([(point, 4) for point in way]))
    assert other.id in {actor.id for actor in view.scene().actors}
    other.set_simulate_physics(False)
    other.set_location(other.get_location() - carla.Location(z=50.0))
    stage.tick(2)
    assert other.id not in {actor.id for actor in view.scene().actors}
