"""The waits around the client's races, on a clock of our own."""

from __future__ import annotations

from autovla_core.minicarla import pacing
from autovla_core.minicarla.pacing import Episode, EpisodeChange, Subscriptions, TickPause


def test_a_tick_waits_for_an_announced_stream() -> None:
    subscriptions = Subscriptions()
    assert subscriptions.settled(0.0)
    subscriptions.announce(5, now=0.0)
    assert not subscriptions.settled(0.5)
    subscriptions.connected(5)
    assert subscriptions.settled(0.5)


def test_two_announced_subscribers_of_one_stream_must_both_come() -> None:
    subscriptions = Subscriptions()
    subscriptions.announce(5, 0.0)
    subscriptions.announce(5, 0.0)
    subscriptions.connected(5)
    assert not subscriptions.settled(0.1)


def test_a_subscriber_that_never_comes_is_forgotten_after_a_second() -> None:
    subscriptions = Subscriptions()
    subscriptions.announce(5, 0.0)
    assert subscriptions.settled(pacing.SUBSCRIBE_WITHIN_S)
    assert subscriptions.settled(0.0)


def test_an_unannounced_stream_is_welcome() -> None:
    subscriptions = Subscriptions()
    subscriptions.connected(9)
    subscriptions.announce(9, 0.0)
    assert not subscriptions.settled(0.1)


def test_the_pause_starts_again_with_every_look_at_the_settings() -> None:
    pause = TickPause(pause_s=1.0)
    assert pause.over(0.0)
    pause.touch(10.0)
    pause.touch(10.5)
    assert not pause.over(11.2)
    assert pause.over(11.5)


def test_a_loading_client_is_parked_in_its_question_for_the_settings() -> None:
    change = EpisodeChange()
    assert not change.keeps("get_episode_settings")
    change.loading(0.0)
    assert change.keeps("get_episode_settings")
    assert not change.keeps("apply_batch"), "the Traffic Manager's step under way must finish"


def test_a_client_without_an_episode_gets_only_what_fetches_it() -> None:
    change = EpisodeChange()
    change.loading(0.0)
    change.replied(0.05)
    assert change.state is Episode.UNKNOWN
    assert [change.keeps(name) for name in ("version", "get_episode_info", "get_sensor_token")] == [False] * 3
    assert change.keeps("tick_cue")
    change.fetched()
    assert not change.keeps("tick_cue")


def test_no_state_lasts_for_ever() -> None:
    change = EpisodeChange()
    assert not change.late(1e9)
    change.loading(0.0)
    assert not change.late(0.05)
    assert change.late(pacing.TRAFFIC_MANAGER_ASKS_WITHIN_S)
    change.replied(0.2)
    assert change.late(0.2 + pacing.EPISODE_FETCHED_WITHIN_S)


def test_a_load_waits_longer_while_the_traffic_manager_reads_the_map_of_the_last_one() -> None:
    change = EpisodeChange()
    change.announced()
    change.loading(now=10.0)
    assert change.settling and not change.late(now=10.5)
    assert change.keeps("get_episode_settings")
    assert change.late(now=30.0)


def test_two_ticks_after_a_change_of_map_the_traffic_manager_is_ready() -> None:
    change = EpisodeChange()
    change.announced()
    change.ticked()
    assert change.settling
    change.ticked()
    change.ticked()
    assert not change.settling
    change.loading(now=10.0)
    assert change.late(now=10.2)


def test_silence_after_a_tick_is_suspected_once() -> None:
    wake_up = pacing.LostWakeUp(silence_s=10.0)
    assert not wake_up.suspected(100.0), "nobody ticked"
    wake_up.ticked(100.0)
    assert not wake_up.suspected(109.9)
    assert wake_up.suspected(110.0)
    assert not wake_up.suspected(200.0)
    wake_up.ticked(300.0)
    assert wake_up.suspected(310.0)


def test_a_slow_script_whose_traffic_manager_is_awake_is_not_suspected() -> None:
    """After the reply its Traffic Manager asks for the settings; then the script thinks for an hour."""
    wake_up = pacing.LostWakeUp(silence_s=10.0)
    wake_up.ticked(100.0)
    wake_up.heard()
    assert not wake_up.suspected(3700.0)
