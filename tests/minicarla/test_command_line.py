"""The command line takes CARLA's own, and refuses nothing but a town or a number that makes no sense."""

from __future__ import annotations

import pytest

from autovla_core.minicarla.command_line import parse

UNREAL = "CarlaUE4 /Game/Carla/Maps/Town10HD_Opt -RenderOffScreen -nosound -quality-level=Epic -carla-rpc-port=3000"


def test_a_command_line_of_carla_is_understood_whole() -> None:
    asked = parse([*UNREAL.split(), "--town-aliases", "-carla-streaming-port=3005", "-ResX=800", "-graphicsadapter=1"])
    assert asked.notes == ()
    assert asked.options.port == 3000 and asked.options.stream_port == 3005
    assert asked.options.town == "Town10HD_Opt"


@pytest.mark.parametrize(
    "words",
    ["-carla-rpc-port=2100", "-carla-rpc-port 2100", "--carla-rpc-port 2100", "-Carla-RPC-Port=2100", "--port 2100"],
)
def test_a_port_may_be_said_in_carlas_ways_and_in_ours(words: str) -> None:
    asked = parse(words.split())
    assert (asked.options.port, asked.notes) == (2100, ())


@pytest.mark.parametrize(
    "word", ["Rowanfold", "/Game/Carla/Maps/Rowanfold", "/Game/Carla/Maps/Rowanfold?spectatoronly"]
)
def test_a_map_may_stand_alone_and_wins_over_the_flag(word: str) -> None:
    assert parse(["--town", "Fellside", "--threads", "1", word]).options.town == "Rowanfold"


def test_a_map_of_carla_is_refused_with_the_hint_unless_aliases_are_wanted(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        parse(UNREAL.split())
    assert "--town-aliases minicarla would load its Ironmere" in capsys.readouterr().err


def test_a_flag_that_is_not_known_is_told_and_takes_its_value_along() -> None:
    asked = parse(["-frobnicate", "3", "--ros2", "-trace=on", "--trafic", "20", "Fellside", "--seed", "-3"])
    assert asked.notes == (
        "unknown flag '-frobnicate' is ignored",
        "flag '--ros2' is ignored: minicarla has no ROS 2 interface",
        "unknown flag '-trace=on' is ignored",
        "unknown flag '--trafic' is ignored; did you mean --traffic?",
    )
    assert (asked.options.town, asked.options.seed, asked.options.traffic) == ("Fellside", -3, 0)


@pytest.mark.parametrize("program", ["CarlaUE4", "./CarlaUE4.sh", "/opt/carla/CarlaUE4.uproject"])
def test_the_name_of_carlas_program_is_no_map(program: str) -> None:
    asked = parse([program, "-quality-level", "Low", "-nosound", program])
    assert (asked.options.town, asked.notes) == ("Havenbrook", ())


def test_a_flag_without_its_number_is_told() -> None:
    asked = parse(["-carla-rpc-port", "-nosound"])
    assert asked.options.port == 2000
    assert asked.notes == ("flag '-carla-rpc-port' needs a number and is ignored",)


def test_a_number_that_is_none_ends_with_code_2() -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["-carla-rpc-port=many"])
    assert ended.value.code == 2
