"""``agents.navigation.basic_agent`` for a clone without CARLA's PythonAPI: its old copy with the newer signature.

Loaded by launcher.py under that name, never as a part of autovla_core. The copy in the clone predates the arguments
``(vehicle, speed, opt_dict, map_inst, grp_inst)``, ``lane_change`` and the options of the obstacle check that the
scenarios of the same clone call.
"""

from __future__ import annotations

import importlib

import carla

clones_basic_agent = importlib.import_module("agents.navigation.clones_basic_agent")  # CARLA's agents, not ours
RoadOption = importlib.import_module("agents.navigation.local_planner").RoadOption


def __getattr__(name):
    """What else is imported from this module there, such as LocalPlanner."""
    return getattr(clones_basic_agent, name)


_PLANNERS: dict = {}
_OLD_PLANNER = clones_basic_agent.GlobalRoutePlanner


class _SharedPlanner:
    """Built on first use and shared: each vehicle of a flow would otherwise build the town's graph again."""

    def __init__(self, map_inst, resolution):
        self._key = (map_inst.name, resolution)
        self._map = map_inst

    def __getattr__(self, name):
        if self._key not in _PLANNERS:
            _PLANNERS[self._key] = _OLD_PLANNER(self._map, self._key[1])
        return getattr(_PLANNERS[self._key], name)


clones_basic_agent.GlobalRoutePlanner = _SharedPlanner


class BasicAgent(clones_basic_agent.BasicAgent):
    """The clone's agent behind the newer signature."""

    def __init__(self, vehicle, target_speed=20, opt_dict=None, map_inst=None, grp_inst=None):
        super().__init__(vehicle, target_speed, dict(opt_dict or {}))
        self._map = map_inst or self._map
        self._global_planner = grp_inst or self._global_planner

    def _vehicle_obstacle_detected(self, vehicle_list=None, max_distance=None, **_):
        return super()._vehicle_obstacle_detected(vehicle_list, max_distance)

    def lane_change(self, direction, same_lane_time=0, other_lane_time=0, lane_change_time=2):
        """Plan along this lane, over to the ``left`` or ``right`` one and along that; times in s."""
        speed = max(self._vehicle.get_velocity().length(), 1.0)
        start = self._map.get_waypoint(self._vehicle.get_location())
        plan = [(start, RoadOption.LANEFOLLOW), *self._along(start, same_lane_time * speed)]
        ahead = plan[-1][0].next(max(lane_change_time * speed, self._sampling_resolution))
        side = ahead and (ahead[0].get_left_lane() if direction == "left" else ahead[0].get_right_lane())
        if not side or side.lane_type != carla.LaneType.Driving:
            print("WARNING: Ignoring the lane change as no path was found")
            return
        option = RoadOption.CHANGELANELEFT if direction == "left" else RoadOption.CHANGELANERIGHT
        length = max(other_lane_time * speed, 10 * self._sampling_resolution)
        self.set_global_plan([*plan, (side, option), *self._along(side, length)])

    def _along(self, waypoint, length):
        points, driven = [], 0.0
        while driven < length:
            following = waypoint.next(self._sampling_resolution)
            if not following:
                break
            waypoint = following[0]
            points.append((waypoint, RoadOption.LANEFOLLOW))
            driven += self._sampling_resolution
        return points
