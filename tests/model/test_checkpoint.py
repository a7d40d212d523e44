from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForImageTextToText, AutoTokenizer

from autovla_core.contracts import Command, Observation
from autovla_core.errors import CheckpointError
from autovla_core.model import checkpoint, tiny
from autovla_core.model.vla import AutoVLA
from autovla_core.prompt import render


def edited(source: Path, target: Path, **changes: object) -> Path:
    """A copy of a model folder with other values in its record."""
    shutil.copytree(source, target)
    file = target / checkpoint.RECORD_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return target


def test_a_folder_loads_by_transformers_alone(model_folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(model_folder)
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    document = json.loads((model_folder / "processor_config.json").read_text())
    assert document["processor_class"] == "Qwen2_5_VLProcessor"
    assert not list(model_folder.glob("*.bin")) and not list(model_folder.glob("*.pkl"))


def test_the_tokenizer_survives_the_folder(model_folder: Path) -> None:
    fresh, loaded = tiny.build_tokenizer(2048), AutoTokenizer.from_pretrained(model_folder)
    prompt = render.render(7.3, -1.2, Command.CHANGE_LEFT, ("front",), None)
    assert loaded(prompt).input_ids == fresh(prompt).input_ids
    assert loaded.decode(loaded(prompt).input_ids) == prompt
    odd = "Stra\u00dfe 12.34 \u2192 \u524d\n"
    assert loaded.decode(loaded(odd).input_ids) == odd


def test_sentences_numbers_and_actions_are_one_token_each(model_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    for string in (*tiny.phrases(), "0.0", "7.8", "29.9", "-4.5", "<action_0>", "<action_2047>"):
        assert len(tokenizer(string).input_ids) == 1, string


@pytest.mark.parametrize("rig", [("front",), ("front", "front_left", "front_right")])
def test_the_chat_template_renders_our_prompt(model_folder: Path, rig: tuple[str, ...]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    values = 3.21, 0.4, Command.RIGHT, rig
    string = tokenizer.apply_chat_template(
        render.messages(*values), tokenize=False, add_generation_prompt=True, add_vision_id=True
    )
    assert string == render.render(*values)


def test_saving_and_loading_gives_the_same_plan(model_folder: Path, tmp_path: Path, observation: Observation) -> None:
    planner = AutoVLA.from_pretrained(model_folder)
    record = planner.record
    model, tokenizer = checkpoint.load(model_folder)
    checkpoint.save(tmp_path / "again", model, tokenizer, planner.codebook, record.cameras, record.training)
    again = AutoVLA.from_pretrained(tmp_path / "again")
    assert again.record == record
    a, b = planner.plan(observation), again.plan(observation)
    assert np.array_equal(a.tokens, b.tokens)
    assert np.array_equal(a.log_probs, b.log_probs)


def test_another_wording_or_codebook_is_refused(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="wording"):
        AutoVLA.from_pretrained(edited(model_folder, tmp_path / "wording", wording_hash="0" * 64))
    with pytest.raises(CheckpointError, match="codebook"):
        AutoVLA.from_pretrained(edited(model_folder, tmp_path / "codebook", codebook_hash="0" * 64))
    with pytest.raises(CheckpointError, match="schema"):
        AutoVLA.from_pretrained(edited(model_folder, tmp_path / "schema", schema="autovla-checkpoint/9"))


def test_a_folder_without_record_codebook_or_weights_is_refused(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="autovla.json is missing"):
        AutoVLA.from_pretrained(tmp_path)
    for name in (checkpoint.CODEBOOK_FILE, "model.safetensors"):
        folder = edited(model_folder, tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(CheckpointError):
            AutoVLA.from_pretrained(folder)


def test_weights_of_another_shape_are_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = edited(model_folder, tmp_path / "deeper")
    document = json.loads((folder / "config.json").read_text())
    document["text_config"]["num_hidden_layers"] = 3
    document["text_config"].pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="do not fit"):
        AutoVLA.from_pretrained(folder)


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path) -> None:
    mine = tmp_path / "base"
    mine.mkdir()
    (mine / "mine.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="no model folder of ours"), checkpoint.writing(mine):
        raise AssertionError("not reached")
    assert (mine / "mine.txt").read_text() == "precious"


def test_an_interrupted_writing_leaves_the_old_folder_and_no_rest(tmp_path) -> None:
    target = tmp_path / "model"
    with checkpoint.writing(target) as folder:
        (folder / checkpoint.RECORD_FILE).write_text("old")
    with pytest.raises(KeyboardInterrupt), checkpoint.writing(target) as folder:
        (folder / checkpoint.RECORD_FILE).write_text("new")
        raise KeyboardInterrupt
    assert (target / checkpoint.RECORD_FILE).read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
