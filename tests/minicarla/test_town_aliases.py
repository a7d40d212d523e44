"""CARLA's town names: refused with advice, or answered with one of ours after saying so."""

from __future__ import annotations

import logging

import pytest

from autovla_core.minicarla import command_line, town_aliases
from autovla_core.minicarla.handlers import episode
from autovla_core.minicarla.simulation import Session, Simulation
from autovla_core.minicarla.town_aliases import ALIASES, AliasingSimulation, nearest, resolve
from autovla_core.minicarla.world.layout import TownError
from autovla_core.minicarla.world.town import TOWNS


def session_of(kind: type[Simulation]) -> Session:
    return Session(kind("Pennyfield", 2001, lambda town: None, lambda: 0.0))


def test_every_town_of_carla_has_a_neighbour_among_ours():
    assert sorted(ALIASES) == [f"Town{number:02d}" for number in range(1, 16)]
    assert set(ALIASES.values()) == set(TOWNS)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Town04", "Kestrelway"),
        ("Carla/Maps/Town04", "Kestrelway"),
        ("/Game/Carla/Maps/Town10HD_Opt", "Ironmere"),
        ("Town07_Opt", "Fellside"),
        ("Town99", None),
        ("MyTown04", None),
        ("Havenbrook", None),
        ("Town4", None),
        ("", None),
    ],
)
def test_names_with_folders_and_variants_are_understood(name, ours):
    assert nearest(name) == ours


def test_an_alias_is_said_loudly_and_other_names_pass_in_silence(caplog):
    with caplog.at_level(logging.WARNING):
        assert resolve("Fellside") == "Fellside"
        assert not caplog.records
        assert resolve("Carla/Maps/Town05") == "Ironmere"
    assert "Town05 was asked for and is NOT here; loading Ironmere" in caplog.text


def test_without_the_flag_the_refusal_has_the_real_servers_words_and_our_advice():
    session = session_of(Simulation)
    with pytest.raises(
        TownError, match=r"^Map 'Town02' not found; .*--town-aliases minicarla would load its Pennyfield"
    ):
        episode.load_episode(session, "Town02")
    with pytest.raises(TownError, match=r"^Map 'Nowhere' not found") as refused:
        episode.load_episode(session, "Nowhere")
    assert "alias" not in str(refused.value)
    assert session.world.town.name == "Pennyfield"


def test_with_the_flag_a_client_gets_our_town_under_its_own_name():
    session = session_of(AliasingSimulation)
    before = session.world.episode_id
    episode.load_episode(session, "Town01_Opt")
    assert episode.map_info(session)[0] == "Carla/Maps/Pennyfield"
    assert session.world.episode_id != before
    with pytest.raises(TownError, match="Map 'Town77' not found"):
        episode.load_episode(session, "Town77")


def test_the_command_line_takes_a_town_of_carla_only_with_the_flag(capsys):
    assert command_line.parse(["--town", "Town03", "--town-aliases"]).options.town == "Town03"
    for arguments in (["--town", "Town03"], ["--town", "Atlantis", "--town-aliases"]):
        with pytest.raises(SystemExit) as ended:
            command_line.parse(arguments)
        assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "no town 'Town03'; choose from Havenbrook" in told
    assert "--town-aliases minicarla would load its Havenbrook" in told
    assert town_aliases.hint("Atlantis") == ""
