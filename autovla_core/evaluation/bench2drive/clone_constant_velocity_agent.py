"""``agents.navigation.constant_velocity_agent`` for a clone without CARLA's PythonAPI; its copy of ``agents`` has none.

Loaded by launcher.py under that name, never as a part of autovla_core.
"""

from __future__ import annotations

import importlib

import carla

BasicAgent = importlib.import_module("agents.navigation.basic_agent").BasicAgent  # CARLA's agents, not ours

LIGHT_TIME_S = 0.3


class ConstantVelocityAgent(BasicAgent):
    """Drives at a fixed speed until it touches something; slows for what is ahead."""

    def __init__(self, vehicle, target_speed=20, opt_dict=None, map_inst=None, grp_inst=None):
        options = dict(opt_dict or {})
        super().__init__(vehicle, target_speed, options, map_inst, grp_inst)
        self._wanted = target_speed / 3.6  # m/s
        self._restart_time = options.get("restart_time", float("inf"))
        self._use_basic_behavior = options.get("use_basic_behavior", False)
        self._stopped_at = None
        self.is_constant_velocity_active = True
        blueprint = self._world.get_blueprint_library().find("sensor.other.collision")
        self._collision_sensor = self._world.spawn_actor(blueprint, carla.Transform(), attach_to=vehicle)
        self._collision_sensor.listen(lambda event: self.stop_constant_velocity())
        self._push(self._wanted)

    def set_target_speed(self, speed):
        """In km/h."""
        self._wanted = speed / 3.6
        self._local_planner.set_speed(speed)

    def stop_constant_velocity(self):
        """Give the vehicle back to its physics."""
        self.is_constant_velocity_active = False
        self._vehicle.disable_constant_velocity()
        self._stopped_at = self._now()

    def restart_constant_velocity(self):
        """Push again."""
        self.is_constant_velocity_active = True
        self._push(self._wanted)

    def run_step(self):
        """The control of one tick; the speed itself is pushed."""
        if not self.is_constant_velocity_active:
            if self._now() - self._stopped_at <= self._restart_time:
                return super().run_step() if self._use_basic_behavior else carla.VehicleControl()
            self.restart_constant_velocity()
        control = self._local_planner.run_step()
        self._push(min(self._allowed(), self._wanted))
        return control

    def destroy_sensor(self):
        """Remove the collision sensor."""
        if self._collision_sensor:
            self._collision_sensor.stop()
            self._collision_sensor.destroy()
            self._collision_sensor = None

    def _allowed(self):
        """Speed in m/s that what is ahead leaves."""
        actors = self._world.get_actors()
        velocity = self._vehicle.get_velocity()
        speed = velocity.length()
        ahead = self._vehicle_obstacle_detected(actors.filter("*vehicle*"), self._base_vehicle_threshold + speed)
        lights = actors.filter("*traffic_light*")
        if self._affected_by_traffic_light(lights, self._base_tlight_threshold + LIGHT_TIME_S * speed)[0]:
            return 0.0
        if not ahead[0]:
            return self._wanted
        other = ahead[1].get_velocity()
        return max(0.0, (velocity.x * other.x + velocity.y * other.y) / max(speed, 0.1))

    def _push(self, speed):
        self._vehicle.enable_constant_velocity(carla.Vector3D(speed, 0, 0))

    def _now(self):
        return self._world.get_snapshot().timestamp.elapsed_seconds
