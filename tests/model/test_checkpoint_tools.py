"""Base folders in the layout in which Qwen publishes them, and the authors' Lightning files, become model folders."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from autovla_core.action.codebook import SHIPPED, Codebook
from autovla_core.errors import CheckpointError, ConfigError
from autovla_core.model import base_folder, checkpoint, families, lightning, tiny, weights
from autovla_core.model.encoding import CameraView, action_start
from autovla_core.model.vla import AutoVLA

ROOT = Path(__file__).resolve().parents[2]
VIEWS = {"qwen2_5_vl": (CameraView("front", 56, 84),), "qwen3_vl": (CameraView("front", 64, 96),)}
PREFIX = "autovla.vlm."


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook.load(SHIPPED)


def plain_tokenizer() -> PreTrainedTokenizerBase:
    """Words and Qwen's control tokens, as a base has them: no sentences, no numbers, no actions."""
    phrases, numbers = tiny.phrases, tiny.NUMBERS
    try:
        tiny.phrases, tiny.NUMBERS = lambda thoughts: [], ()
        return tiny.build_tokenizer(0)
    finally:
        tiny.phrases, tiny.NUMBERS = phrases, numbers


def write_base(folder: Path, family: str, qwen3_builder, tied: bool = True, rows: int = 640) -> Path:
    """Random weights in several bfloat16 shards; more rows than tokens; configuration as published."""
    tokenizer = plain_tokenizer()
    torch.manual_seed(3)
    if family == "qwen2_5_vl":
        config = tiny.build_config(tiny.SIZES["n01"], tokenizer, 56, 84)
        config.text_config.vocab_size, config.tie_word_embeddings = rows, tied
        model = tiny.Qwen2_5_VLForConditionalGeneration._from_config(config)
    else:
        model = qwen3_builder(tokenizer, 3)
        model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="60KB")
    tokenizer.save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(PUBLISHED[family](json.loads(file.read_text()))))
    return folder


def flat(document: dict) -> dict:
    """Qwen2.5-VL's config.json has no text_config, and older names."""
    text, vision = document.pop("text_config"), document.pop("vision_config")
    rope = text.pop("rope_parameters")
    text = {k: v for k, v in text.items() if k not in ("model_type", "dtype", "layer_types")}
    vision = {**vision, "in_chans": vision["in_channels"], "spatial_patch_size": vision["patch_size"]}
    old = {"rope_theta": rope["rope_theta"], "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]}}
    document.pop("dtype", None)
    return {**document, **text, **old, "torch_dtype": "bfloat16", "vision_config": vision}


def nested(document: dict) -> dict:
    """Qwen3-VL's has one, with the rotary settings under their older names."""
    rope = dict(document["text_config"].pop("rope_parameters"))
    document["text_config"] |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    return document


PUBLISHED = {"qwen2_5_vl": flat, "qwen3_vl": nested}


@pytest.fixture(scope="module")
def qwen3_builder(family_builder):
    """The suite's small Qwen3-VL for another tokenizer."""

    def build(tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
        model = family_builder("qwen3_vl", seed)[0]
        for name, token in families.SPECIALS.items():
            setattr(model.config, name, tokenizer.convert_tokens_to_ids(token))
        return model

    return build


@pytest.fixture(scope="module")
def bases(tmp_path_factory, qwen3_builder) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {family: write_base(folder / family, family, qwen3_builder) for family in VIEWS}


@pytest.fixture(scope="module")
def made(tmp_path_factory, bases, book) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    return {f: base_folder.make(bases[f], book, VIEWS[f], folder / f) for f in VIEWS}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


def scene(observe, family: str, seed: int = 0):
    view = VIEWS[family][0]
    rng = np.random.default_rng(seed)
    clip = observe(0).clips["front"]
    images = rng.integers(0, 256, (4, view.height, view.width, 3), dtype=np.uint8)
    return observe(seed, clips={"front": type(clip)(images, clip.times_s)})


@pytest.mark.parametrize("family", VIEWS)
def test_the_test_writes_what_is_published(bases, family: str) -> None:
    names, document = set(tensors(bases[family])), json.loads((bases[family] / "config.json").read_text())
    text, vision = ("model.", "visual.") if family == "qwen2_5_vl" else ("model.language_model.", "model.visual.")
    assert {text + "embed_tokens.weight", text + "norm.weight", vision + "patch_embed.proj.weight"} <= names
    assert "lm_head.weight" not in names and len(list(bases[family].glob("*.safetensors"))) > 2
    assert ("hidden_size" in document) == (family == "qwen2_5_vl")


@pytest.mark.parametrize("family", VIEWS)
def test_a_base_becomes_a_folder_that_drives(bases, made, book, observe, family: str) -> None:
    planner = AutoVLA.from_pretrained(made[family])
    plan = planner.plan(scene(observe, family))
    assert plan.tokens.shape == (10,) and np.isfinite(plan.log_probs).all()
    assert planner.encoder.first_action == len(AutoTokenizer.from_pretrained(bases[family]))
    assert planner.codebook.hash == book.hash and planner.cameras == VIEWS[family]
    assert planner.record.training == {"program": "make_checkpoint", "base": family, "seed": 0}
    assert planner.record.vocabulary_hash and not list(made[family].glob("*.bin"))


@pytest.mark.parametrize("family", VIEWS)
def test_every_weight_of_the_base_is_kept_and_words_mean_what_they_meant(bases, made, family: str) -> None:
    old, new = tensors(bases[family]), tensors(made[family])
    words = len(AutoTokenizer.from_pretrained(bases[family]))
    assert old.keys() == new.keys()
    for name, value in old.items():
        kept = new[name][:words] if name.endswith("embed_tokens.weight") else new[name]
        assert torch.equal(kept, value[:words] if name.endswith("embed_tokens.weight") else value), name
    ids = AutoTokenizer.from_pretrained(made[family])("turn left, then stop", return_tensors="pt").input_ids
    logits = [
        AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)(input_ids=ids).logits[..., :words]
        for folder in (bases[family], made[family])
    ]
    assert torch.allclose(*logits, atol=1e-5)


@pytest.mark.parametrize("family", VIEWS)
def test_the_new_rows_follow_the_motions_and_are_as_loud_as_words(bases, made, book, family: str) -> None:
    name = next(n for n in tensors(made[family]) if n.endswith("embed_tokens.weight"))
    table, words = tensors(made[family])[name].float(), len(AutoTokenizer.from_pretrained(bases[family]))
    actions = table[words : words + len(book)]
    assert len(table) % 64 == 0 and 0 <= len(table) - words - len(book) < 64
    assert 0.8 < float(actions.std() / table[:words].std()) < 1.25
    motion = book.motions / np.array(tiny.MOTION_SCALE)
    apart = np.linalg.norm(motion - motion[700], axis=1)
    far, near = int(apart.argmax()), int(np.argsort(apart)[1])
    assert (actions[near] - actions[700]).norm() < 0.6 * (actions[far] - actions[700]).norm()


def test_few_actions_fit_into_the_spare_rows_of_a_base(tmp_path: Path, bases, book) -> None:
    few = Codebook(book.motions[:50])
    folder = base_folder.make(bases["qwen2_5_vl"], few, VIEWS["qwen2_5_vl"], tmp_path / "few")
    assert json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"] == 640
    assert AutoVLA.from_pretrained(folder).encoder.actions == 50


def test_a_head_of_its_own_gets_rows_of_its_own(tmp_path: Path, qwen3_builder, book, observe) -> None:
    base = write_base(tmp_path / "untied", "qwen2_5_vl", qwen3_builder, tied=False)
    folder = base_folder.make(base, book, VIEWS["qwen2_5_vl"], tmp_path / "made")
    found = tensors(folder)
    head, table = found["lm_head.weight"], found["model.embed_tokens.weight"]
    assert head.shape == table.shape and not torch.equal(head, table)
    assert AutoVLA.from_pretrained(folder).plan(scene(observe, "qwen2_5_vl")).tokens.shape == (10,)


def test_shards_stay_shards_and_no_tensor_is_read_twice_at_once(tmp_path: Path, bases, book, monkeypatch) -> None:
    read = []
    tensor = weights.Inventory.tensor
    monkeypatch.setattr(weights.Inventory, "tensor", lambda self, name: read.append(name) or tensor(self, name))
    folder = base_folder.make(bases["qwen3_vl"], book, VIEWS["qwen3_vl"], tmp_path / "out")
    index = json.loads((folder / weights.INDEX).read_text())
    assert sorted(read) == sorted(set(read)) == sorted(index["weight_map"])
    assert index["weight_map"] == json.loads((bases["qwen3_vl"] / weights.INDEX).read_text())["weight_map"]
    assert index["metadata"]["total_size"] == sum(2 * value.numel() for value in tensors(folder).values())


def broken(base: Path, folder: Path, change) -> Path:
    shutil.copytree(base, folder)
    change(folder)
    return folder


def shard_of(folder: Path, name: str) -> Path:
    return folder / json.loads((folder / weights.INDEX).read_text())["weight_map"][name]


def without(folder: Path, name: str, instead: torch.Tensor | None = None) -> None:
    """Drop or replace one tensor, in its shard and in the index."""
    file = shard_of(folder, name)
    kept = {**load_file(file), **({name: instead} if instead is not None else {})}
    if instead is None:
        del kept[name]
        index = json.loads((folder / weights.INDEX).read_text())
        del index["weight_map"][name]
        (folder / weights.INDEX).write_text(json.dumps(index))
    save_file(kept, file, metadata={"format": "pt"})


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def add_token(folder: Path, token: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([token])
    tokenizer.save_pretrained(folder)


NORM = "model.norm.weight"
BROKEN = {
    "a shard is missing": (lambda f: shard_of(f, NORM).unlink(), "is missing or damaged"),
    "a shard is cut off": (lambda f: shard_of(f, NORM).write_bytes(shard_of(f, NORM).read_bytes()[:-9]), "damaged"),
    "no weights": (lambda f: [p.unlink() for p in f.glob("model*")], "expected model.safetensors or"),
    "a tensor is missing": (lambda f: without(f, NORM), "1 missing: model.language_model.norm.weight"),
    "a tensor is too short": (lambda f: without(f, NORM, torch.ones(31)), r"\(31,\) instead of \(32,\)"),
    "a deeper configuration": (lambda f: edit(f / "config.json", num_hidden_layers=3), "12 missing"),
    "a shallower configuration": (lambda f: edit(f / "config.json", num_hidden_layers=1), "12 unknown"),
    "another architecture": (lambda f: edit(f / "config.json", model_type="llama"), "'llama', expected one of"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "another tokenizer": (lambda f: edit(f / "config.json", video_token_id=7), r"video_token_id is 7"),
    "sizes that do not go together": (lambda f: edit(f / "config.json", vocab_size=500), "describes no model"),
    "actions already": (lambda f: add_token(f, "<action_7>"), "1 action tokens already"),
    "an index that leads out": (
        lambda f: edit(f / weights.INDEX, weight_map={NORM: "../model.safetensors"}),
        "outside its folder",
    ),
    "numbers that are none": (lambda f: without(f, NORM, torch.full((32,), torch.nan)), "not finite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_base_is_refused_by_what_is_wrong_and_nothing_is_written(tmp_path, bases, book, name: str) -> None:
    change, text = BROKEN[name]
    base = broken(bases["qwen2_5_vl"], tmp_path / "base", change)
    with pytest.raises(CheckpointError, match=text):
        base_folder.make(base, book, VIEWS["qwen2_5_vl"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(tmp_path: Path, qwen3_builder) -> None:
    base = write_base(tmp_path / "base", "qwen2_5_vl", qwen3_builder, rows=520)
    with pytest.raises(CheckpointError, match="the tokenizer has 526 tokens, the embedding 520 rows"):
        base_folder.read_base(base)


def test_pictures_must_consist_of_cells_and_the_prompt_must_know_the_rig(tmp_path: Path, bases, book) -> None:
    for view, text in (((60, 84), "84x60 pixels, expected multiples of 28"), ((56, 0), "0x56")):
        with pytest.raises(CheckpointError, match=text):
            base_folder.make(bases["qwen2_5_vl"], book, (CameraView("front", *view),), tmp_path / "out")
    with pytest.raises(CheckpointError, match="expected multiples of 32"):
        base_folder.make(bases["qwen3_vl"], book, VIEWS["qwen2_5_vl"], tmp_path / "out")
    with pytest.raises(CheckpointError, match="cameras \\('rear',\\); the prompt knows"):
        base_folder.make(bases["qwen2_5_vl"], book, (CameraView("rear", 56, 84),), tmp_path / "out")
    assert base_folder.camera("front:448x224") == CameraView("front", height=224, width=448)
    with pytest.raises(ConfigError, match="expected id:WIDTHxHEIGHT"):
        base_folder.camera("front:448")


@pytest.mark.parametrize(
    "change, text",
    [
        (
            lambda f: edit(f / checkpoint.RECORD_FILE, vocabulary_hash="0" * 64),
            "vocabulary hashes to .* trained with 0000",
        ),
        (lambda f: add_token(f, "new"), "vocabulary hashes to"),
        (lambda f: shard_of(f, NORM).unlink(), "cannot load|damaged"),
        (lambda f: without(f, NORM), "do not fit the configuration: 1 missing keys: model.language_model.norm.weight"),
        (lambda f: without(f, NORM, torch.ones(31)), "do not fit|size"),
    ],
)
def test_a_damaged_model_folder_is_refused_when_it_is_loaded(tmp_path, made, change, text: str) -> None:
    folder = broken(made["qwen2_5_vl"], tmp_path / "damaged", change)
    with pytest.raises(CheckpointError, match=text):
        AutoVLA.from_pretrained(folder)


def test_a_tokenizer_without_room_for_its_actions_is_refused(made, book) -> None:
    config = checkpoint.read_config(made["qwen2_5_vl"])
    tokenizer = AutoTokenizer.from_pretrained(made["qwen2_5_vl"])
    last = action_start(tokenizer, len(book)) + len(book) - 1
    config.text_config.vocab_size = last
    with pytest.raises(CheckpointError, match=f"<action_2047> is token {last}, but the embedding has {last} rows"):
        checkpoint.check_vocabulary("folder", tokenizer, config, len(book))


def lightning_file(file: Path, folder: Path, **extra: torch.Tensor) -> Path:
    """What Lightning writes: the weights of ``folder`` with the authors' names, a copied head, and its own values."""
    state = {PREFIX + name: value for name, value in tensors(folder).items()}
    state[PREFIX + "lm_head.weight"] = state[PREFIX + "model.embed_tokens.weight"].clone()
    document = {
        "epoch": 4,
        "global_step": 1234,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**state, **extra},
        "hparams_name": "config",
        "hyper_parameters": {"lr": 2e-5, "lora": {"use": False}},
        "loops": {"fit_loop": {"state_dict": {}}},
    }
    torch.save(document, file)
    return file


def test_an_authors_file_becomes_the_folder_that_it_was_trained_as(tmp_path, bases, made, book, observe) -> None:
    file = lightning_file(tmp_path / "a.ckpt", made["qwen2_5_vl"])
    views = VIEWS["qwen2_5_vl"]
    folder = lightning.convert(file, bases["qwen2_5_vl"], book, views, tmp_path / "out")
    a, b = tensors(folder), tensors(made["qwen2_5_vl"])
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    plans = [AutoVLA.from_pretrained(f).plan(scene(observe, "qwen2_5_vl")) for f in (folder, made["qwen2_5_vl"])]
    assert np.array_equal(plans[0].tokens, plans[1].tokens)
    assert checkpoint.read_record(folder).training["file"] == "a.ckpt"


def newer(name: str) -> str:
    """A tensor of Qwen2.5-VL under the name that transformers gives it since 4.52."""
    if name.startswith("visual."):
        return f"model.{name}"
    return f"model.language_model.{name.removeprefix('model.')}" if name.startswith("model.") else name


def with_newer_names(base: Path, folder: Path) -> Path:
    """The same base folder, its tensors and its index under the newer names."""
    shutil.copytree(base, folder)
    for file in folder.glob("*.safetensors"):
        save_file({newer(name): value for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    index = json.loads((folder / weights.INDEX).read_text())
    index["weight_map"] = {newer(name): file for name, file in index["weight_map"].items()}
    (folder / weights.INDEX).write_text(json.dumps(index))
    return folder


def file_with_newer_names(file: Path) -> Path:
    """The same Lightning file as a newer transformers names its tensors."""
    document = torch.load(file, weights_only=True)
    state = {PREFIX + newer(name.removeprefix(PREFIX)): value for name, value in document["state_dict"].items()}
    torch.save({**document, "state_dict": state}, file)
    return file


@pytest.mark.parametrize("base_names", ["older", "newer"])
@pytest.mark.parametrize("file_names", ["older", "newer"])
def test_an_authors_file_and_its_base_may_have_the_names_of_either_release(
    tmp_path, bases, made, book, observe, file_names: str, base_names: str
) -> None:
    file, base = lightning_file(tmp_path / "a.ckpt", made["qwen2_5_vl"]), bases["qwen2_5_vl"]
    if file_names == "newer":
        names = set(torch.load(file_with_newer_names(file), weights_only=True)["state_dict"])
        assert {PREFIX + "model.language_model.norm.weight", PREFIX + "lm_head.weight"} <= names
        assert not [n for n in names if n.startswith((PREFIX + "visual.", PREFIX + "model.layers."))]
    if base_names == "newer":
        base = with_newer_names(base, tmp_path / "base")
    folder = lightning.convert(file, base, book, VIEWS["qwen2_5_vl"], tmp_path / "out")
    found, expected = tensors(folder), tensors(made["qwen2_5_vl"])
    expected = {newer(n) if base_names == "newer" else n: value for n, value in expected.items()}
    assert found.keys() == expected.keys() and all(torch.equal(found[n], expected[n]) for n in found)
    plans = [AutoVLA.from_pretrained(f).plan(scene(observe, "qwen2_5_vl")) for f in (folder, made["qwen2_5_vl"])]
    assert np.array_equal(plans[0].tokens, plans[1].tokens)
    assert np.array_equal(plans[0].log_probs, plans[1].log_probs)


def test_a_tensor_under_both_of_its_names_is_refused(tmp_path: Path, bases, made, book) -> None:
    twice = {PREFIX + newer(NORM): torch.ones(32)}
    file = lightning_file(tmp_path / "a.ckpt", made["qwen2_5_vl"], **twice)
    with pytest.raises(CheckpointError, match="model.norm.weight is there twice, under its older and its newer name"):
        lightning.convert(file, bases["qwen2_5_vl"], book, VIEWS["qwen2_5_vl"], tmp_path / "out")


@pytest.mark.parametrize("names", ["older", "newer"])
def test_adapters_in_an_authors_file_are_merged_with_their_alpha(tmp_path, bases, made, book, names: str) -> None:
    target = "model.layers.0.self_attn.q_proj"
    file, views = lightning_file(tmp_path / "a.ckpt", made["qwen2_5_vl"]), VIEWS["qwen2_5_vl"]
    stored = target
    if names == "newer":
        file, stored = file_with_newer_names(file), newer(target)
    document = torch.load(file, weights_only=True)
    state = {PREFIX + "base_model.model." + k.removeprefix(PREFIX): v for k, v in document["state_dict"].items()}
    wrapped = PREFIX + "base_model.model." + stored
    weight = state.pop(wrapped + ".weight")
    state[wrapped + ".base_layer.weight"] = weight
    state[wrapped + ".base_layer.bias"] = state.pop(wrapped + ".bias")
    a, b = torch.randn(4, weight.shape[1]) / 8, torch.randn(weight.shape[0], 4) / 8
    state |= {wrapped + ".lora_A.default.weight": a, wrapped + ".lora_B.default.weight": b}
    torch.save({**document, "state_dict": state}, file)
    with pytest.raises(CheckpointError, match="1 weights have LoRA adapters; say with which --lora-alpha"):
        lightning.convert(file, bases["qwen2_5_vl"], book, views, tmp_path / "out")
    folder = lightning.convert(file, bases["qwen2_5_vl"], book, views, tmp_path / "out", lora_alpha=8.0)
    expected = (weight.float() + 2.0 * b @ a).to(torch.bfloat16)  # alpha / rank = 8 / 4
    assert torch.equal(tensors(folder)[target + ".weight"], expected)


class Evil:
    """Runs when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def test_a_pickle_with_anything_but_tensors_is_refused_and_not_run(tmp_path: Path, bases, made, book) -> None:
    file, trace = lightning_file(tmp_path / "a.ckpt", made["qwen2_5_vl"]), tmp_path / "ran"
    document = torch.load(file, weights_only=True)
    torch.save({**document, "hyper_parameters": Evil(f"touch {trace}")}, file)
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        lightning.convert(file, bases["qwen2_5_vl"], book, VIEWS["qwen2_5_vl"], tmp_path / "out")
    assert not trace.exists() and not (tmp_path / "out").exists()
    for content in (b"", b"PK\x03\x04 no zip", b"\x80\x04N."):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="is refused"):
            lightning.read_state(file)
    torch.save([1, 2], file)
    with pytest.raises(CheckpointError, match="found list, expected a 'state_dict' of tensors"):
        lightning.read_state(file)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        lightning.read_state(tmp_path / "absent.ckpt")


def test_missing_and_foreign_tensors_of_an_authors_file_are_named(tmp_path: Path, bases, made, book) -> None:
    def convert(file: Path, drop: tuple[str, ...] = ()) -> Path:
        return lightning.convert(file, bases["qwen2_5_vl"], book, VIEWS["qwen2_5_vl"], tmp_path / "out", drop=drop)

    file = lightning_file(tmp_path / "a.ckpt", made["qwen2_5_vl"], **{"reference.vlm.x": torch.ones(1)})
    with pytest.raises(CheckpointError, match="1 of .* are not called autovla.vlm.*: reference.vlm.x; --drop"):
        convert(file)
    assert convert(file, ("reference.",)).is_dir()
    with pytest.raises(CheckpointError, match="1 tensors of the base are missing .model.norm.weight., 0 are unknown"):
        convert(file, ("reference.", PREFIX + NORM))
    torch.save({"state_dict": {**torch.load(file, weights_only=True)["state_dict"], PREFIX + "x": torch.ones(1)}}, file)
    with pytest.raises(CheckpointError, match="1 are unknown to it .x."):
        convert(file, ("reference.",))
    small = lightning_file(tmp_path / "b.ckpt", bases["qwen2_5_vl"])
    with pytest.raises(CheckpointError, match=r"the tables have \[640\] rows, expected .* at least 2574"):
        convert(small)


def test_the_programs_make_check_and_convert(tmp_path: Path, bases, monkeypatch, capsys) -> None:
    def run(name: str, *arguments: object) -> int:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return module.main()

    base, out = bases["qwen2_5_vl"], tmp_path / "out"
    assert run("make_checkpoint", "base", base, "--camera", "front:84x56", "--out", out) == 0
    assert "2048 actions from token 526, cameras front 84x56" in capsys.readouterr().out
    file = lightning_file(tmp_path / "a.ckpt", out)
    options = "--base", base, "--codebook", SHIPPED, "--camera", "front:84x56", "--out", tmp_path / "again"
    assert run("convert_checkpoint", file, *options) == 0
    assert run("make_checkpoint", "check", tmp_path / "again") == 0
    assert run("make_checkpoint", "check", ROOT / "models" / "autovla-tiny") == 0
    assert run("make_checkpoint", "check", base) == 1
    assert "autovla.json is missing" in capsys.readouterr().err
