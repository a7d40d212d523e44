"""Adapters on a model folder: they change nothing at first, only themselves in training, and know their base."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from autovla_core.errors import CheckpointError
from autovla_core.model import checkpoint, lora
from autovla_core.model.encoding import action_start
from autovla_core.model.vla import AutoVLA

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = 2048
SPEC = lora.LoraSpec(rank=4, alpha=8.0, dropout=0.0)


@pytest.fixture
def base(model_folder: Path):
    model, tokenizer = checkpoint.load(model_folder)
    return model, tokenizer, checkpoint.read_record(model_folder)


def attached(base, spec: lora.LoraSpec = SPEC):
    return lora.attach(base[0], action_start(base[1], ACTIONS), ACTIONS, spec)


def logits(model, tokenizer) -> torch.Tensor:
    ids = tokenizer("turn left <action_3><action_9>", return_tensors="pt").input_ids
    with torch.no_grad():
        return model(input_ids=ids).logits


def trained(adapted, tokenizer, steps: int = 2):
    ids = tokenizer("stop <action_5>", return_tensors="pt").input_ids
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.02)
    torch.manual_seed(0)
    for _ in range(steps):
        loss = adapted(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return adapted.eval()


def test_a_fresh_adapter_changes_nothing_and_a_trained_one_only_itself(base) -> None:
    before, mark = logits(*base[:2]), lora.fingerprint(base[0])
    adapted = attached(base)
    assert torch.equal(logits(adapted, base[1]), before)
    trained(adapted, base[1])
    assert (logits(adapted, base[1]) - before).abs().max() > 1e-2
    with adapted.disable_adapter():
        assert torch.equal(logits(adapted, base[1]), before)
    assert lora.fingerprint(adapted) == mark


def test_an_adapter_comes_back_as_it_was_saved(base, model_folder: Path, tmp_path: Path) -> None:
    adapted = trained(attached(base), base[1])
    folder = lora.save_adapter(adapted, tmp_path / "adapter", base[2])
    fresh, tokenizer = checkpoint.load(model_folder)
    again = lora.load_adapter(fresh, folder, base[2])
    assert torch.equal(logits(again, tokenizer), logits(adapted, tokenizer))
    assert not any(p.requires_grad for p in again.parameters())
    more = lora.load_adapter(checkpoint.load(model_folder)[0], folder, base[2], trainable=True)
    assert {n for n, p in more.named_parameters() if p.requires_grad} == {
        n for n, p in attached((checkpoint.load(model_folder)[0], tokenizer)).named_parameters() if p.requires_grad
    }
    text = "".join(file.read_text() for file in folder.glob("*.json"))
    assert str(model_folder.parent) not in text and sorted(p.suffix for p in folder.iterdir()) == [
        ".json",
        ".json",
        ".safetensors",
    ]


def test_a_merged_model_is_a_plain_folder_that_plans_the_same(base, tmp_path: Path, observation) -> None:
    model, tokenizer, record = base
    adapted = trained(attached(base), tokenizer)
    expected = logits(adapted, tokenizer)
    book = checkpoint.read_codebook(Path(model.name_or_path), record)
    merged = lora.merge(adapted)
    assert torch.allclose(logits(merged, tokenizer), expected, atol=1e-4)
    assert merged.lm_head.weight.data_ptr() == merged.get_input_embeddings().weight.data_ptr()
    folder = checkpoint.save(tmp_path / "merged", merged, tokenizer, book, record.cameras, {})
    planner = AutoVLA.from_pretrained(folder)
    assert planner.plan(observation).tokens.shape == (10,)
    rows = merged.get_input_embeddings().weight.to(torch.bfloat16).float()
    assert torch.equal(planner.model.get_input_embeddings().weight, rows)


def test_the_program_merges_an_adapter_into_a_new_folder(base, model_folder: Path, tmp_path: Path, monkeypatch) -> None:
    folder = lora.save_adapter(trained(attached(base), base[1]), tmp_path / "adapter", base[2])
    spec = importlib.util.spec_from_file_location("make_checkpoint", ROOT / "tools" / "make_checkpoint.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    arguments = ["make_checkpoint", "merge", str(model_folder), str(folder), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert program.main() == 0
    expected = lora.merge(lora.load_adapter(checkpoint.load(model_folder)[0], folder, base[2])).state_dict()
    found = checkpoint.load(tmp_path / "out")[0].state_dict()
    assert all(torch.equal(found[name], expected[name].to(torch.bfloat16).float()) for name in expected)
    assert checkpoint.read_record(tmp_path / "out").training["merged_adapter"] == "adapter"


def test_without_rows_only_attention_is_trained(base) -> None:
    adapted = attached(base, lora.LoraSpec(rank=4, actions=False))
    names = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert len(names) == 2 * 4 * 2 and all("lora_" in n and "language_model" in n for n in names)


def test_targets_that_match_nothing_are_refused(base) -> None:
    with pytest.raises(CheckpointError, match="no adapter can be attached"):
        attached(base, lora.LoraSpec(targets="nothing"))


def test_an_adapter_refuses_another_base(base, tmp_path: Path, folder_builder, cameras) -> None:
    folder = lora.save_adapter(attached(base), tmp_path / "adapter", base[2])
    other = folder_builder(tmp_path / "other", cameras, seed=5)
    with pytest.raises(CheckpointError, match="the adapter was trained on base '.*', this model has"):
        lora.load_adapter(checkpoint.load(other)[0], folder, checkpoint.read_record(other))
    file = folder / lora.RECORD_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "codebook_hash": "0" * 64}))
    with pytest.raises(CheckpointError, match="trained on codebook_hash '000000000000'"):
        lora.load_adapter(base[0].base_model, folder, base[2])


def edited(folder: Path, target: Path, change) -> Path:
    shutil.copytree(folder, target)
    tensors = load_file(target / lora.WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, target / lora.WEIGHTS_FILE)
    return target


def test_an_adapter_with_other_tensors_is_refused(base, model_folder: Path, tmp_path: Path) -> None:
    folder = lora.save_adapter(trained(attached(base), base[1]), tmp_path / "adapter", base[2])
    name = next(n for n in load_file(folder / lora.WEIGHTS_FILE) if "lora_A" in n)
    changes = {
        "1 tensors of the adapter are missing": lambda t: t.pop(name),
        "1 are unknown .extra": lambda t: t.update(extra=torch.ones(1)),
        "cannot be loaded": lambda t: t.update({name: t[name][:, :-1].contiguous()}),
    }
    for number, (text, change) in enumerate(changes.items()):
        bad = edited(folder, tmp_path / f"bad{number}", change)
        with pytest.raises(CheckpointError, match=text):
            lora.load_adapter(checkpoint.load(model_folder)[0], bad, base[2])
    for missing in (lora.RECORD_FILE, lora.CONFIG_FILE, lora.WEIGHTS_FILE):
        bad = shutil.copytree(folder, tmp_path / f"without {missing}")
        (bad / missing).unlink()
        with pytest.raises(CheckpointError, match=f"{missing} is missing"):
            lora.load_adapter(checkpoint.load(model_folder)[0], bad, base[2])


def test_a_qwen3_folder_takes_adapters_too(tmp_path: Path, family_builder) -> None:
    model, tokenizer, _ = family_builder("qwen3_vl", 1)
    before = logits(model, tokenizer)
    adapted = attached((model, tokenizer))
    assert torch.equal(logits(adapted, tokenizer), before)
    expected = logits(trained(adapted, tokenizer), tokenizer)
    assert np.abs((expected - before).numpy()).max() > 1e-2
    assert torch.allclose(logits(lora.merge(adapted), tokenizer), expected, atol=1e-4)
