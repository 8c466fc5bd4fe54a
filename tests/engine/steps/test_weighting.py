"""The rules that weigh labels: one for each name in the settings, one interface."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from napari_mlbseg.engine.config import Weights
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.meta_weights import label_prices, weights_of
from napari_mlbseg.engine.steps.weighting.meta import tilted_weights
from napari_mlbseg.engine.steps.weighting.rule import Weighting
from napari_mlbseg.engine.steps.weighting.rules import RULES


def test_every_name_in_the_settings_has_a_rule() -> None:
    assert set(RULES) == set(get_args(Weights))
    assert all(isinstance(rule, Weighting) for rule in RULES.values())


def test_what_the_rules_say_of_labels() -> None:
    learning = {name for name, rule in RULES.items() if rule.learns_labels}
    judging = {name for name, rule in RULES.items() if rule.judges_imported_labels}
    mapped = {name for name, rule in RULES.items() if rule.scores is not None}
    assert learning == {"meta", "published", "uniform"}
    assert judging == {"meta"}
    assert mapped == {"meta", "published"}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_gives_the_gradient_of_the_clean_loss(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1)).double()
    point = dict(network.named_parameters())
    clean = Batch(torch.randn(4, 1, 8, 8).double(), torch.randint(0, 3, (4, 8, 8)))
    expected, loss = clean_gradient(as_model(network), point, *clean)
    said = RULES[name].ask(as_model(network), point, clean)
    torch.testing.assert_close(said.loss, loss)
    for parameter, gradient in expected.items():
        torch.testing.assert_close(said.gradient[parameter], gradient)
    straight = all(torch.equal(said.direction[n], said.gradient[n]) for n in expected)
    assert straight is (name != "meta")  # which looks along what slices agree on


def test_maps_show_what_a_step_weighs() -> None:
    torch.manual_seed(1)
    logits, derivative = torch.randn(2, 2, 3, 6, 6, dtype=torch.float64)
    initial, pseudo = torch.randint(0, 3, (2, 2, 6, 6))

    def ahead() -> tuple[Tensor, Tensor]:
        return logits, derivative

    for name, scores in {"meta": tilted_weights, "published": label_prices}.items():
        rule = RULES[name]
        assert rule.scores is not None
        expected = weights_of(scores(logits, derivative), initial, pseudo)
        shown = weights_of(rule.scores(logits, derivative), initial, pseudo)
        found = rule.weights(ahead, initial, pseudo)
        for one, by_hand, on_view in zip(found, expected, shown, strict=True):
            torch.testing.assert_close(one, by_hand)
            torch.testing.assert_close(one, on_view)


def test_rules_without_prices_look_at_no_derivative() -> None:
    initial, pseudo = torch.zeros(2, 1, 4, 4, dtype=torch.long)

    def ahead() -> tuple[Tensor, Tensor]:
        pytest.fail("a pass through the network for nothing")

    assert all((w == 1 / 32).all() for w in RULES["uniform"].weights(ahead, initial, pseudo))
    assert all((w == 0).all() for w in RULES["none"].weights(ahead, initial, pseudo))
