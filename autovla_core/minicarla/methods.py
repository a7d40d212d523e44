"""One table: the name of a remote call and what answers it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from autovla_core.errors import AutoVLAError
from autovla_core.minicarla.handlers import (
    actors,
    batch,
    drawing,
    episode,
    files,
    lights,
    movers,
    recordings,
    scene,
    street_lights,
)
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.wire import rpc
from autovla_core.minicarla.wire.rpc import Call

logger = logging.getLogger(__name__)

Handler = Callable[..., object]


@dataclass(frozen=True)
class Method:
    """What answers a call: handler(session, *params); ``plain`` results are sent without a Response."""

    handler: Handler
    void: bool = False
    plain: bool = False

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.handler)

    @cached_property
    def counts(self) -> range:
        """How many parameters a call may have, the session not counted."""
        found = self.signature.parameters.values()
        optional = [parameter.default is not inspect.Parameter.empty for parameter in found]
        return range(optional.count(False) - 1, len(optional))


def _returns(**handlers: Handler) -> dict[str, Method]:
    return {name: Method(handler) for name, handler in handlers.items()}


def _acts(**handlers: Handler) -> dict[str, Method]:
    return {name: Method(handler, void=True) for name, handler in handlers.items()}


METHODS: dict[str, Method] = {
    **_returns(
        version=episode.version,
        get_available_maps=episode.available_maps,
        get_episode_info=episode.episode_info,
        get_map_info=episode.map_info,
        get_map_data=episode.map_data,
        get_required_files=files.required_files,
        request_file=files.request_file,
        get_navigation_mesh=files.navigation_mesh,
        get_episode_settings=episode.settings,
        set_episode_settings=episode.set_settings,
        tick_cue=episode.tick,
        get_actor_definitions=episode.definitions,
        get_spectator=episode.spectator,
        get_weather_parameters=episode.weather,
        get_imui_gravity=episode.gravity,
        get_sensor_token=episode.sensor_token,
        is_traffic_manager_running=episode.is_traffic_manager_running,
        get_traffic_manager_running=episode.traffic_manager_running,
        add_traffic_manager_running=episode.add_traffic_manager,
        destroy_traffic_manager=episode.remove_traffic_manager,
        minicarla_save_state=episode.save_state,
        get_actors_by_id=actors.by_id,
        spawn_actor=actors.spawn,
        spawn_actor_with_parent=actors.spawn_attached,
        destroy_actor=actors.destroy,
        get_actor_bounding_box=actors.bounding_box,
        get_physics_control=movers.physics,
        get_ackermann_controller_settings=movers.ackermann_settings,
        get_telemetry_data=movers.telemetry,
        get_vehicle_light_state=movers.vehicle_lights,
        get_vehicle_light_states=movers.all_vehicle_lights,
        get_wheel_steer_angle=movers.wheel_steer_angle,
        get_group_traffic_lights=lights.group,
        get_light_boxes=lights.light_boxes,
        get_traffic_sign_trigger_volume=lights.trigger_volume,
        query_lights_state=street_lights.query,
        get_all_level_BBs=scene.level_boxes,
        get_environment_objects=scene.environment_objects,
        get_names_of_all_objects=scene.object_names,
        project_point=scene.project_point,
        cast_ray=scene.cast_ray,
        start_recorder=recordings.start,
        replay_file=recordings.replay,
        show_recorder_file_info=recordings.file_info,
        show_recorder_collisions=recordings.collisions,
        show_recorder_actors_blocked=recordings.blocked,
    ),
    **_acts(
        load_new_episode=episode.load_episode,
        copy_opendrive_to_file=episode.upload_opendrive,
        minicarla_restore_state=episode.restore_state,
        minicarla_forget_state=episode.forget_state,
        minicarla_pause_cameras=episode.pause_cameras,
        set_weather_parameters=episode.set_weather,
        set_imui_gravity=episode.set_gravity,
        set_actor_location=actors.set_location,
        set_actor_transform=actors.set_transform,
        set_actor_target_velocity=actors.set_target_velocity,
        set_actor_target_angular_velocity=actors.set_target_angular_velocity,
        enable_actor_constant_velocity=actors.enable_constant_velocity,
        disable_actor_constant_velocity=actors.disable_constant_velocity,
        add_actor_impulse=actors.add_impulse,
        add_actor_impulse_at_location=actors.add_impulse_at,
        add_actor_force=actors.add_force,
        add_actor_force_at_location=actors.add_force_at,
        set_actor_enable_gravity=actors.set_enable_gravity,
        set_actor_simulate_physics=actors.set_simulate_physics,
        set_actor_collisions=actors.set_collisions,
        set_actor_autopilot=movers.set_autopilot,
        apply_control_to_vehicle=movers.control_vehicle,
        apply_ackermann_control_to_vehicle=movers.control_ackermann,
        apply_ackermann_controller_settings=movers.set_ackermann_settings,
        open_vehicle_door=movers.door,
        close_vehicle_door=movers.door,
        show_vehicle_debug_telemetry=movers.show_telemetry,
        apply_physics_control=movers.set_physics,
        set_vehicle_light_state=movers.set_vehicle_lights,
        apply_control_to_walker=movers.control_walker,
        set_traffic_light_state=lights.set_state,
        set_traffic_light_green_time=lights.set_green_time,
        set_traffic_light_yellow_time=lights.set_yellow_time,
        set_traffic_light_red_time=lights.set_red_time,
        freeze_traffic_light=lights.freeze,
        freeze_all_traffic_lights=lights.freeze_all,
        reset_traffic_light_group=lights.reset_group,
        reset_all_traffic_lights=lights.reset_all,
        update_lights_state=street_lights.update,
        update_day_night_cycle=street_lights.follow_the_sun,
        draw_debug_shape=drawing.draw_shape,
        clear_debug_shape=drawing.clear_shapes,
        clear_debug_string=drawing.clear_words,
        stop_recorder=recordings.stop,
        stop_replayer=recordings.stop_replay,
        set_replayer_time_factor=recordings.set_time_factor,
        set_replayer_ignore_hero=recordings.ignore_hero,
        set_replayer_ignore_spectator=recordings.ignore_spectator,
    ),
    "apply_batch": Method(batch.apply, plain=True),
}

# The rest of CARLA 0.9.16's catalogue, so that a client hears "not in minicarla" and not "no such function".
ABSENT = frozenset(
    [
        "set_actor_dead",
        "add_actor_angular_impulse",
        "add_actor_torque",
        "get_actor_component_names",
        "get_actor_bone_names",
        "get_actor_socket_names",
        "get_actor_component_world_transform",
        "get_actor_component_relative_transform",
        "get_actor_bone_world_transforms",
        "get_actor_bone_relative_transforms",
        "get_actor_socket_world_transforms",
        "get_actor_socket_relative_transforms",
        "get_vehicle_bone_world_transforms",
        "set_wheel_steer_direction",
        "set_wheel_pitch_angle",
        "get_wheel_pitch_angle",
        "enable_carsim",
        "use_carsim_road",
        "enable_chrono_physics",
        "restore_physx_physics",
        "get_bones_transform",
        "set_bones_transform",
        "blend_pose",
        "get_pose_from_animation",
        "are_gbuffers_enabled",
        "get_gbuffer_token",
        "send",
        "console_command",
        "set_annotations_traverse_translucency",
        "enable_environment_objects",
    ]
)
ABSENT_VOID = frozenset(
    [
        "load_map_layer",
        "unload_map_layer",
        "apply_color_texture_to_objects",
        "apply_float_color_texture_to_objects",
        "enable_gbuffers",
        "set_ignored_vehicles",
    ]
)


def may_tick(simulation: Simulation, call: Call) -> bool:
    """Whether a call may advance the world, and so must wait for streams that are being opened."""
    if call.name == "tick_cue":
        return simulation.synchronous
    if call.name == "apply_batch":
        return simulation.synchronous and len(call.params) > 1 and call.params[1] is True
    return call.name == "set_episode_settings" and simulation.needs_clean_snapshot


def answer(session: Session, call: Call) -> bytes | None:
    """Run a call; return the bytes of its reply, or None for a notification."""
    method = METHODS.get(call.name)
    if method is None:
        return _answer_absent(call)
    try:
        result = _run(method, session, call)
    except (AutoVLAError, ValueError) as error:
        logger.debug("%s is refused %s: %s", session.name, call.name, error)
        result = _failure(method, str(error))
    except Exception:  # the edge: one client's call must not take the server from all others
        logger.exception("minicarla failed in %s%.300r of %s", call.name, call.params, session.name)
        result = _failure(method, f"{call.name} failed inside minicarla; its log has the details")
    return None if call.message_id is None else rpc.reply(call.message_id, result)


def tick_freely(simulation: Simulation) -> None:
    """A tick that nobody asked for; if it fails the asynchronous world stands still for a tick, and goes on."""
    try:
        simulation.tick()
    except Exception:  # the same edge: what one client did to the world must not end the server for all
        logger.exception("minicarla failed in a free-running tick")


def _run(method: Method, session: Session, call: Call) -> object:
    if len(call.params) not in method.counts:
        try:
            method.signature.bind(session, *call.params)  # for its words
        except TypeError as error:
            raise ValueError(f"{call.name}: {error}; found {len(call.params)} parameters") from error
    value = method.handler(session, *call.params)
    if method.plain:
        return value
    return rpc.VOID_SUCCESS if method.void else rpc.success(value)


def _failure(method: Method, text: str) -> list:
    if method.plain:
        return [rpc.failure(text)]
    return rpc.void_failure(text) if method.void else rpc.failure(text)


def _answer_absent(call: Call) -> bytes | None:
    known = call.name in ABSENT or call.name in ABSENT_VOID
    text = f"{call.name} is not in minicarla"
    _warn_once(text if known else f"a client called {call.name[:60]!a}, which CARLA 0.9.16 does not have")
    if call.message_id is None:
        return None
    if call.asynchronous:
        return rpc.reply(call.message_id, rpc.VOID_SUCCESS)
    if not known:
        return rpc.transport_error(call.message_id, f"no function {call.name[:60]!a}")
    return rpc.reply(call.message_id, rpc.void_failure(text) if call.name in ABSENT_VOID else rpc.failure(text))


@lru_cache(maxsize=1000)  # a stranger may invent names for ever
def _warn_once(text: str) -> None:
    """Some scripts repeat a call every tick."""
    logger.warning(text)
