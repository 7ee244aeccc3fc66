"""Episodes recorded on the server, over the wire and by hand."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_loop.serve import monitor
from gym_loop.serve.monitor import Monitor, monitor_directory, prepare_directory
from gym_loop.wire.gym_http import BadRequest
from tests.serve import http_worlds
from tests.serve.http_talk import Client, running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def client(root: Path) -> Iterator[Client]:
    http_worlds.register()
    with running(monitor_root=str(root)) as address, Client(address) as client:
        yield client


def play(client: Client, env: str, episodes: int = 1) -> None:
    for _ in range(episodes):
        client.ask("POST", f"{env}/reset/")
        while not client.ask("POST", f"{env}/step/", {"action": 1}).json["done"]:
            pass


def start(client: Client, env: str, directory: str, **more: Any) -> Any:
    return client.ask("POST", f"{env}/monitor/start/", {"directory": directory, **more})


def manifests(directory: Path) -> list[Any]:
    found = sorted(directory.glob("openaigym.manifest.*.manifest.json"))
    return [json.loads(path.read_text()) for path in found]


def stats_of(directory: Path, manifest: Any) -> Any:
    return json.loads((directory / manifest["stats"]).read_text())


def test_what_a_recording_leaves(client: Client, root: Path) -> None:
    env, before = client.make("Counter-v0"), time.time()
    assert start(client, env, "first", video_callable=False).status == 204
    play(client, env, 2)
    assert client.ask("POST", f"{env}/monitor/close/").status == 204
    assert client.ask("POST", f"{env}/monitor/close/").status == 204
    (manifest,) = manifests(root / "first")
    assert set(manifest) == {"stats", "videos", "env_info"}
    assert manifest["videos"] == []
    assert manifest["env_info"]["env_id"] == "Counter-v0"
    assert manifest["stats"].startswith("openaigym.episode_batch.")
    assert manifest["stats"].endswith(".stats.json")
    stats = stats_of(root / "first", manifest)
    assert set(stats) == {
        "initial_reset_timestamp", "timestamps", "episode_lengths", "episode_rewards",
        "episode_types",
    }  # fmt: skip
    assert stats["episode_lengths"] == [3, 3]
    assert stats["episode_rewards"] == [3.0, 3.0]
    assert stats["episode_types"] == ["t", "t"]
    times = [before, stats["initial_reset_timestamp"], *stats["timestamps"], time.time()]
    assert times == sorted(times)
    play(client, env)  # the instance keeps its id and goes on, unrecorded
    assert stats_of(root / "first", manifests(root / "first")[0])["episode_lengths"] == [3, 3]


def test_videos_of_every_nth_episode(client: Client, root: Path) -> None:
    import av

    env = client.make("Counter-v0")
    start(client, env, "films", video_callable=2)
    play(client, env, 3)
    client.ask("POST", f"{env}/monitor/close/")
    (manifest,) = manifests(root / "films")
    names = [video for video, _ in manifest["videos"]]
    assert [name.split(".")[-2] for name in names] == [
        "episode-000000-step-000000000",
        "episode-000002-step-000000006",
    ]
    for video, description in manifest["videos"]:
        assert json.loads((root / "films" / description).read_text())["content_type"] == "video/mp4"
        with av.open(str(root / "films" / video)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 4  # the reset and three steps


def test_true_films_every_episode(client: Client, root: Path) -> None:
    env = client.make("Counter-v0")
    start(client, env, "films", video_callable=True)
    play(client, env, 2)
    client.ask("POST", f"{env}/monitor/close/")
    assert len(manifests(root / "films")[0]["videos"]) == 2


def test_closing_the_environment_completes_the_recording(client: Client, root: Path) -> None:
    env = client.make("Counter-v0")
    start(client, env, "first")
    play(client, env)
    client.ask("POST", f"{env}/close/")
    (manifest,) = manifests(root / "first")
    assert stats_of(root / "first", manifest)["episode_lengths"] == [3]


def test_the_end_of_the_server_completes_the_recording(root: Path) -> None:
    http_worlds.register()
    with running(monitor_root=str(root)) as address, Client(address) as client:
        env = client.make("Counter-v0")
        start(client, env, "first")
        play(client, env)
    (manifest,) = manifests(root / "first")
    assert stats_of(root / "first", manifest)["episode_lengths"] == [3]


def test_an_episode_that_did_not_end_is_left_out(client: Client, root: Path) -> None:
    env = client.make("Counter-v0")
    client.ask("POST", f"{env}/reset/")
    start(client, env, "first")
    client.ask("POST", f"{env}/step/", {"action": 0})  # of an episode begun before
    client.ask("POST", f"{env}/reset/")
    client.ask("POST", f"{env}/step/", {"action": 0})
    play(client, env)
    client.ask("POST", f"{env}/step/", {"action": 0})  # beyond the end
    client.ask("POST", f"{env}/monitor/close/")
    (manifest,) = manifests(root / "first")
    assert stats_of(root / "first", manifest)["episode_lengths"] == [3]


def recorded(client: Client, directory: str) -> None:
    env = client.make("Counter-v0")
    assert start(client, env, directory).status == 204
    play(client, env)
    client.ask("POST", f"{env}/close/")


def test_an_earlier_recording_is_not_overwritten(client: Client, root: Path) -> None:
    recorded(client, "first")
    files = {path.name for path in (root / "first").iterdir()}
    env = client.make("Counter-v0")
    refused = start(client, env, "first", force=False, resume="false")
    assert refused.status == 400
    assert "force: true" in refused.message
    assert "resume: true" in refused.message
    assert {path.name for path in (root / "first").iterdir()} == files
    assert start(client, env, "second").status == 204  # the refusal left no monitor behind


@pytest.mark.parametrize("force", [True, "true", "True", 1])
def test_force_deletes_only_recordings(client: Client, root: Path, force: Any) -> None:
    recorded(client, "first")
    keep = root / "first" / "notes.txt"
    keep.write_text("mine")
    (root / "first" / "openaigym.folder").mkdir()
    old = manifests(root / "first")[0]["stats"]
    assert start(client, client.make("Counter-v0"), "first", force=force).status == 204
    assert keep.read_text() == "mine"
    assert (root / "first" / "openaigym.folder").is_dir()
    assert not (root / "first" / old).exists()
    assert len(manifests(root / "first")) == 1


@pytest.mark.parametrize("resume", [True, "true"])
def test_resume_adds(client: Client, root: Path, resume: Any) -> None:
    recorded(client, "first")
    env = client.make("Counter-v0")
    assert start(client, env, "first", resume=resume).status == 204
    play(client, env, 2)
    client.ask("POST", f"{env}/monitor/close/")
    found = [stats_of(root / "first", one)["episode_lengths"] for one in manifests(root / "first")]
    assert sorted(found) == [[3], [3, 3]]


def test_one_monitor_an_instance(client: Client) -> None:
    env = client.make("Counter-v0")
    start(client, env, "first")
    refused = start(client, env, "second")
    assert refused.status == 400
    assert "recorded already" in refused.message
    client.ask("POST", f"{env}/monitor/close/")
    assert start(client, env, "second").status == 204


@pytest.mark.parametrize(
    "directory", ["../outside", "/etc/gym", "a/../../b", "x\0y", "x/" * 2000, "~root/x"]
)
def test_clients_stay_below_the_root(client: Client, root: Path, directory: str) -> None:
    env = client.make("Counter-v0")
    answer = start(client, env, directory)
    if directory.startswith("~"):  # a name like any other
        assert answer.status == 204
        assert (root / directory).is_dir()
        return
    assert answer.status == 400
    assert "monitor directory" in answer.message
    assert not root.exists()


def test_links_do_not_lead_out(client: Client, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    assert start(client, client.make("Counter-v0"), "link/x").status == 400


def test_absolute_names_below_the_root(client: Client, root: Path) -> None:
    assert start(client, client.make("Counter-v0"), str(root / "inside")).status == 204
    assert manifests(root / "inside")


def test_the_operator_may_allow_every_directory(tmp_path: Path) -> None:
    http_worlds.register()
    with running(any_monitor_directory=True) as address, Client(address) as client:
        assert start(client, client.make("Counter-v0"), str(tmp_path / "here")).status == 204
    assert manifests(tmp_path / "here")


def test_a_directory_that_cannot_be_made(client: Client, root: Path) -> None:
    root.mkdir()
    (root / "file").write_text("")
    refused = start(client, client.make("Counter-v0"), "file")
    assert refused.status == 400
    assert "cannot be written" in refused.message


def test_environments_of_other_classes_are_recorded(root: Path) -> None:
    class Own:
        """Has the methods and no more."""

        def __init__(self) -> None:
            counter = http_worlds.Counter()
            self.observation_space, self.action_space = (
                counter.observation_space,
                counter.action_space,
            )
            self.reset, self.step, self.close = counter.reset, counter.step, counter.close

    with (
        running(monitor_root=str(root), make=lambda env_id, seed=None: Own()) as address,
        Client(address) as client,
    ):
        env = client.make("Own-v0")
        assert start(client, env, "first").status == 204
        play(client, env)
        client.ask("POST", f"{env}/step/", {"action": 1, "render": True})
        client.ask("POST", f"{env}/close/")
    assert stats_of(root / "first", manifests(root / "first")[0])["episode_lengths"] == [3]


@pytest.mark.parametrize(
    "wrong", [{"video_callable": "cubes"}, {"resume": "perhaps"}, {"force": "perhaps"}]
)
def test_a_wrong_request_deletes_nothing(client: Client, root: Path, wrong: Any) -> None:
    recorded(client, "first")
    files = sorted((root / "first").iterdir())
    assert (
        start(client, client.make("Counter-v0"), "first", **{"force": True, **wrong}).status == 400
    )
    assert sorted((root / "first").iterdir()) == files


def test_a_window_is_still_shown_while_recording(root: Path) -> None:
    shown = []

    class Window(http_worlds.Counter):
        def render(self) -> None:
            shown.append(self.count)

    with (
        running(monitor_root=str(root), make=lambda env_id, seed=None: Window("human")) as address,
        Client(address) as client,
    ):
        env = client.make("Window-v0")
        for _ in range(2):
            client.ask("POST", f"{env}/reset/")
            client.ask("POST", f"{env}/step/", {"action": 0})
            client.ask("POST", f"{env}/step/", {"action": 0, "render": True})
            start(client, env, "first")
    assert shown == [2, 2]


def test_names_that_are_no_text(client: Client) -> None:
    refused = start(client, client.make("Counter-v0"), 7)  # type: ignore[arg-type]
    assert "'directory' must be text" in refused.message


# -- by hand -------------------------------------------------------------------------------


def test_long_recordings_are_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "WRITE_INTERVAL", -1.0)
    env = Monitor(http_worlds.Counter(), tmp_path, "Counter-v0", 0, pytest.fail)
    env.reset()
    env.count(1.5, True)
    (manifest,) = manifests(tmp_path)
    assert stats_of(tmp_path, manifest)["episode_rewards"] == [1.5]


def test_a_lost_directory_is_said_and_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    directory = tmp_path / "gone"
    directory.mkdir()
    env = Monitor(http_worlds.Counter(), directory, "Counter-v0", 0, said.append)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    env.reset()
    env.close()
    assert len(said) == 1
    assert str(directory) in said[0]


def test_two_recordings_share_no_file(tmp_path: Path) -> None:
    for _ in range(2):
        Monitor(http_worlds.Counter(), tmp_path, "Counter-v0", 0, pytest.fail).finish()
    assert len(manifests(tmp_path)) == 2
    assert all(f".{os.getpid()}." in path.name for path in tmp_path.iterdir())


def test_directories_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert monitor_directory("monitor", "a/b") == tmp_path / "monitor" / "a" / "b"
    assert monitor_directory("monitor", "/x", anywhere=True) == Path("/x")
    with pytest.raises(BadRequest, match="--monitor-root"):
        monitor_directory("monitor", "/x")
    prepare_directory(tmp_path / "new", force=False, resume=False)
    assert (tmp_path / "new").is_dir()
