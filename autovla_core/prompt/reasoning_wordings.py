"""The sentences of a thought: templates by topic, and the words that may stand in their slots. Data only.

Every template ends with a full stop and holds no other; a slot is one of ``WORDS`` or a number of ``NUMBERS``. No two
topics may share a sentence: what was written is read back by the same table.
"""

from __future__ import annotations

from collections.abc import Mapping

NUMBERS = ("distance",)  # slots of whole metres

WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "day": {
        "day": ("in daylight", "by day"),
        "low_sun": ("under a low sun", "with the sun near the horizon"),
        "night": ("at night", "in the dark"),
    },
    "sky": {
        "clear": ("clear", "dry and clear"),
        "cloudy": ("cloudy", "overcast"),
        "rain": ("rainy", "wet from rain"),
        "fog": ("foggy", "hazy"),
    },
    "count": {
        "none": ("no other vehicle", "no vehicle"),
        "one": ("one vehicle", "a single vehicle"),
        "two": ("two vehicles",),
        "three": ("three vehicles",),
        "several": ("several vehicles", "many vehicles"),
    },
    "kind": {
        "car": ("a car",),
        "van": ("a van",),
        "truck": ("a truck", "a lorry"),
        "bus": ("a bus",),
        "emergency": ("an emergency vehicle",),
        "motorcycle": ("a motorcycle", "a motorbike"),
        "bicycle": ("a cyclist", "a bicycle"),
        "pedestrian": ("a pedestrian", "a person on foot"),
        "cone": ("a traffic cone",),
        "barrier": ("a barrier",),
        "obstacle": ("an obstacle",),
    },
    "side": {
        "ahead": ("straight ahead", "directly in front"),
        "ahead_left": ("ahead on the left", "ahead to the left"),
        "ahead_right": ("ahead on the right", "ahead to the right"),
        "left": ("beside us on the left",),
        "right": ("beside us on the right",),
    },
    "motion": {
        "standing": ("standing still", "not moving"),
        "same_way": ("moving our way", "going in our direction"),
        "oncoming": ("coming towards us", "oncoming"),
        "to_left": ("crossing from right to left", "moving across to the left"),
        "to_right": ("crossing from left to right", "moving across to the right"),
    },
    "state": {"red": ("red",), "yellow": ("yellow", "amber"), "green": ("green",)},
    "command": {
        "follow": ("keep to the road", "follow the road"),
        "left": ("turn left",),
        "right": ("turn right",),
        "straight": ("go straight on", "cross straight on"),
        "change_left": ("move one lane to the left",),
        "change_right": ("move one lane to the right",),
    },
    "lateral": {
        "forward": ("drive forward", "go ahead"),
        "turn_left": ("turn to the left", "take the left turn"),
        "turn_right": ("turn to the right", "take the right turn"),
        "change_left": ("shift to the left",),
        "change_right": ("shift to the right",),
    },
    "longitudinal": {
        "stop": ("remain stopped", "stay at rest"),
        "halt": ("brake to a stop", "slow down to a halt"),
        "slow": ("slow down", "reduce speed"),
        "slow_hard": ("slow down sharply", "brake strongly"),
        "keep": ("keep the speed", "hold the speed"),
        "faster": ("speed up", "gain speed"),
        "faster_hard": ("speed up quickly", "gain speed quickly"),
    },
}

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "weather": ("It is {sky} {day}.", "The weather is {sky}, {day}."),
    "junction_far": ("No junction is near.", "The road runs on without a junction."),
    "junction_near": ("A junction lies ahead.", "We approach a junction."),
    "junction_inside": ("We are in a junction.", "The junction is around us."),
    "traffic": ("There is {count} in view.", "The cameras show {count}.", "I can see {count}."),
    "object": (
        "There is {kind} {distance} m {side}, {motion}.",
        "I notice {kind}, {distance} m {side}, {motion}.",
        "{distance} m {side} there is {kind}, {motion}.",
    ),
    "light": (
        "The traffic light {distance} m ahead is {state}.",
        "A traffic light shows {state}, {distance} m ahead.",
    ),
    "sign": ("A stop sign stands {distance} m ahead.", "There is a stop sign in {distance} m."),
    "nothing": ("Nothing critical is in view.", "I see no critical object."),
    "navigation": ("We are to {command}.", "The route asks us to {command}."),
    "cause_cruise": ("The way is free.", "Nothing holds us up."),
    "cause_green": ("The light is green, so we may pass.", "We have a green light and may go."),
    "cause_curve": ("The bend limits our speed.", "We must be slow enough for the bend."),
    "cause_lead": ("We stay behind {kind}.", "We keep our distance to {kind}."),
    "cause_light": ("We must stop at the {state} light.", "The {state} light forbids us to pass."),
    "cause_sign": ("We must halt at the stop sign.", "The stop sign obliges us to halt."),
    "cause_conflict": ("We give way to {kind}.", "We let {kind} pass first."),
    "cause_walker": ("We wait for {kind} on the road.", "We must not endanger {kind} on the road."),
    "cause_oncoming": ("We wait until {kind} from ahead has passed.", "We leave the way to {kind} from ahead."),
    "cause_obstacle": ("Our lane is blocked by {kind}.", "The lane ahead is closed by {kind}."),
    "cause_cut_in": ("We make room for {kind} that pulls in.", "We slow down for {kind} that cuts in."),
    "cause_overtake": ("We drive around {kind}.", "We pass by {kind} with room to spare."),
    "action": (
        "Best to {lateral} and {longitudinal}.",
        "The action is to {lateral} and {longitudinal}.",
        "So we {lateral} and {longitudinal}.",
    ),
}
