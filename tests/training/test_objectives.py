"""The loop knows no classes: masked ids without labels, replayed rows with places of their own, a frozen trunk."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from torch import nn
from toys import Killed, Toy, Watch, assert_equal, assert_same_lines, run_in, training_of

from seit.augment import Pipeline
from seit.errors import RunError
from seit.evaluation import Accuracy, Evaluation
from seit.loading import Batch, RowFeed
from seit.models.start import start_from
from seit.objectives import Classify, Objective
from seit.objectives.losses import row_losses
from seit.run import Run
from seit.store import TokenDataset
from seit.training import Recipe, Training, fit
from seit.training.setup import build_model

RECIPE = Recipe(epochs=4, batch_size=16, precision="float32", smoothing=0.0, warmup_epochs=1, log_every=3)


def test_the_losses_are_timms():
    logits, targets = torch.randn(5, 7) * 3, torch.rand(5, 7)
    assert row_losses("cross-entropy", logits, targets).mean() == pytest.approx(
        SoftTargetCrossEntropy()(logits, targets).item()
    )
    assert row_losses("bce", logits, targets).mean() == pytest.approx(BinaryCrossEntropy()(logits, targets).item())


class Unlabelled(Toy):
    """Rows of one id each, hidden in noise, and no label."""

    def batch(self, indices):
        return self.inputs[indices], None


class Guesser(nn.Module):
    """Guesses every cell's id from the mean of what it is shown."""

    def __init__(self):
        super().__init__()
        self.shown, self.guess = nn.Embedding(13, 16), nn.Linear(16, 12)

    def forward(self, ids):
        return self.guess(self.shown(ids).mean((1, 2)))

    def save_pretrained(self, folder):
        raise AssertionError("nothing scored it")


class MaskedIds(Objective):
    """Hides half of the cells and guesses the ids behind them."""

    def losses(self, network, inputs, labels, draws):
        assert labels is None
        hidden = draws.uniform("mask", inputs[0].numel()).view(inputs.shape) < 0.5
        logits = network(inputs.long().masked_fill(hidden, 12))[..., None, None]
        each = F.cross_entropy(logits.expand(-1, -1, *inputs.shape[1:]), inputs.long(), reduction="none")
        return (each * hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1).clamp(min=1)


class HeldOutLoss(Evaluation):
    """The objective's own loss on rows that were held out, which no accuracy could be measured on."""

    def __init__(self, rows):
        self.rows, self.calls, self.dies = rows, 0, 0

    def __call__(self, model):
        self.calls += 1
        if self.calls == self.dies:
            raise Killed
        ids = torch.from_numpy(self.rows.batch(np.arange(len(self.rows)))[0])
        with torch.no_grad():
            yield "held_out_loss", F.cross_entropy(model(ids), ids.flatten(1)[:, 0]).item()


def masked(recipe, dies=0):
    torch.manual_seed(0)
    evaluation = HeldOutLoss(Unlabelled(30, seed=1))
    evaluation.dies = dies
    return Training(recipe, Guesser(), MaskedIds(), RowFeed(Unlabelled(96), 16, seed=0), [evaluation])


@pytest.mark.usefixtures("kept")
def test_masked_ids_are_learned_without_labels_and_resumed(tmp_path):
    recipe = replace(RECIPE, learning_rate=0.1, epochs=8)
    whole, cut = masked(recipe), masked(recipe, dies=3)
    values = fit(whole, run_in(tmp_path / "whole"))
    losses = [line["loss"] for line in Run(tmp_path / "whole").lines()]
    assert losses[-1] < 1.5 < 2.2 < losses[0]  # an id is one of the four of its row's class: log 4 is 1.39
    assert 1.3 < values["held_out_loss"] < 1.6
    with pytest.raises(Killed):
        fit(cut, run_in(tmp_path / "cut"))
    again = masked(recipe)
    fit(again, run_in(tmp_path / "cut"))
    assert_equal(whole.model, again.model)
    assert_same_lines(tmp_path / "whole", tmp_path / "cut")
    parts = masked(replace(recipe, micro_batch=6))
    fit(parts, run_in(tmp_path / "parts"))
    for key, value in whole.model.state_dict().items():
        assert torch.allclose(value, parts.model.state_dict()[key], atol=1e-4)


class Replay:
    """Feeds one task after the other; half of each batch are rows of earlier tasks, at places of their own."""

    batch_size, epoch_steps = 16, 8

    def __init__(self, rows, replays):
        self.rows, self.replays, self.fed = rows, replays, []
        self.tasks = [np.flatnonzero(rows.labels == label) for label in range(3)]

    def batches(self, step):
        for number in itertools.count(step):
            task, draw = min(number // 16, 2), np.random.default_rng(number)
            rows = draw.choice(self.tasks[task], 16)
            if task and self.replays:
                rows[8:] = draw.choice(np.concatenate(self.tasks[:task]), 8)
            positions = number % self.epoch_steps * 16 + np.arange(16)
            self.fed.append(positions)
            yield Batch(number // self.epoch_steps, positions, rows, *self.rows.batch(rows), 16)


def test_a_continual_method_feeds_its_own_batches_and_forgets_less(tmp_path):
    rows, held = Toy(120), Toy(60, seed=1)
    ends = {}
    for name, replays in (("replay", True), ("plain", False)):
        recipe = replace(RECIPE, epochs=6, trunk="test_vit", learning_rate=2e-3, schedule="constant")
        base = training_of(rows, recipe, Accuracy(held, held.classes, every=6))
        training = replace(base, feed=Replay(rows, replays))
        values = fit(training, run_in(tmp_path / name))
        ends[name] = values["top1"]
        assert training.plan.steps == 48
        assert np.concatenate(training.feed.fed[:8]).tolist() == list(range(128))
    assert ends["replay"] > 0.9 > 0.7 > ends["plain"]


class Probe(nn.Module):
    """A linear layer on the features of a network that stays as it is."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier, self.head = classifier.requires_grad_(False), nn.Linear(3, 3)
        self.table, self.config = classifier.table, classifier.config

    def train(self, mode=True):
        super().train(mode)
        self.classifier.eval()  # batch norm, too
        return self

    def forward(self, vectors):
        return self.head(self.classifier(vectors))

    def prepare(self, inputs):
        return self.classifier.prepare(inputs)


def test_a_probe_starts_from_a_run_and_trains_its_head_alone(run, tokens, tmp_path):
    rows, held = TokenDataset(tokens, "train"), TokenDataset(tokens, "val")
    torch.manual_seed(0)
    model = build_model(RECIPE, rows)
    start_from(run, model, Run(run).about())
    probe = Probe(model)
    before = {key: value.clone() for key, value in probe.state_dict().items()}
    augment = Pipeline((), rows.grid, model.input_grid, 3, codebook=model.table, view=model.view_grid)
    seen = []
    measure = Accuracy(held, held.classes)
    evaluations = [Watch(lambda model: seen.append(dict(measure(model))))]
    training = Training(
        replace(RECIPE, learning_rate=0.1), probe, Classify(probe, augment), RowFeed(rows, 16, 0), evaluations
    )
    fit(training, run_in(tmp_path))
    for key, value in probe.state_dict().items():
        assert torch.equal(value, before[key]) != key.startswith("head."), key
    assert seen[-1]["top1"] > 0.5


def test_a_classifier_refuses_rows_without_a_label(tmp_path):
    model = training_of(Toy(32), RECIPE)
    for rows in (Unlabelled(32), Toy(32)):
        rows.labels[3] = -1
        with pytest.raises(RunError, match="not every row has a label; give images that lie in class folders"):
            fit(replace(model, feed=RowFeed(rows, 16, 0)), run_in(tmp_path))
