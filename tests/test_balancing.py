"""Balancing: closed-form cases of each way to weight several losses."""

import pytest
import torch

from objstress import InputError
from objstress.training.balancing import Balancer, GradNorm, SoftAdapt, TwoStage, gradnorm_slope

TASKS = ("energy", "forces", "dipole")
ALL = torch.tensor([True, True, True])


def tensor(*x):
    return torch.tensor(x, dtype=torch.float64)


def make(kind, **more):
    return kind(TASKS, {"energy": 2.0}, **more)


@pytest.mark.parametrize("kind", [Balancer, TwoStage, SoftAdapt, GradNorm])
def test_weights_stay_positive_and_sum_to_the_number_of_tasks(kind):
    more = {"window": 2} if kind is SoftAdapt else {}
    more |= {"reference_batches": 2, "rate": 0.5} if kind is GradNorm else {}
    balancer = make(kind, **more)
    assert torch.allclose(balancer.weights, tensor(1.5, 0.75, 0.75))
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        present = torch.rand(3, generator=generator) < 0.7
        losses, norms = torch.rand(2, 3, generator=generator) * tensor(1e-6, 1.0, 1e6)
        balancer.update(losses, present, norms)
        for progress in (0.0, 1.0):
            weights = balancer.at(progress)
            assert (weights > 0).all()
            assert weights.sum() == pytest.approx(3.0)


def test_two_stages_switch_once():
    balancer = TwoStage(("energy", "forces"), {"forces": 3.0}, {"energy": 3.0}, switch=0.6)
    assert torch.allclose(balancer.at(0.59), tensor(0.5, 1.5))
    assert torch.allclose(balancer.at(0.6), tensor(1.5, 0.5))


def test_softadapt_is_its_formula():
    balancer = SoftAdapt(TASKS, {"energy": 2.0}, beta=0.7, window=2)
    for losses in (tensor(3.0, 1.0, 5.0), tensor(5.0, 3.0, 5.0)):
        balancer.update(losses, ALL)
    assert torch.allclose(balancer.weights, tensor(1.5, 0.75, 0.75))  # no rate yet
    for losses in (tensor(2.0, 2.0, 4.0), tensor(2.0, 3.0, 4.0)):
        balancer.update(losses, ALL)
    change = tensor(-2.0, 0.5, -1.0) / 3.5
    expected = tensor(2.0, 1.0, 1.0) * torch.exp(0.7 * change)
    assert torch.allclose(balancer.weights, 3 * expected / expected.sum())


def test_softadapt_takes_means_over_the_batches_that_have_labels():
    balancer = SoftAdapt(("energy", "forces"), beta=1.0, window=2)
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    for losses, present in (
        (tensor(1.0, 1.0), both),
        (tensor(1.0, 99.0), first),
        (tensor(1.0, 2.0), both),
        (tensor(1.0, 99.0), first),
    ):
        balancer.update(losses, present)
    w = torch.exp(tensor(0.0, 1.0))
    assert torch.allclose(balancer.weights, 2 * w / w.sum())


def test_gradnorm_slope_is_the_derivative_of_its_loss():
    n, rates = tensor(0.3, 4.0, 1.0), tensor(0.9, 0.1, 0.5)
    z = tensor(0.2, -0.4, 0.1).requires_grad_()
    w = torch.exp(z)
    g = w * n
    target = (g.mean() * (rates / rates.mean()) ** 0.8).detach()
    (expected,) = torch.autograd.grad((g - target).abs().sum(), z)
    assert torch.allclose(gradnorm_slope(w.detach(), n, rates, 0.8), expected)


def run(balancer, losses, norms, steps=2500):
    for _ in range(steps):
        balancer.update(losses, torch.ones(len(losses), dtype=torch.bool), norms)


def test_gradnorm_makes_gradients_alike():
    """alpha = 0: w_i |grad L_i| all equal, so w_i = T / |grad L_i| / sum_j 1 / |grad L_j|."""
    balancer = GradNorm(TASKS, alpha=0.0, rate=0.002)
    norms = tensor(0.1, 1.0, 7.0)
    run(balancer, tensor(1.0, 1.0, 1.0), norms)
    assert torch.allclose(balancer.weights, 3 / norms / (1 / norms).sum(), rtol=2e-2)


def test_gradnorm_lets_the_slow_task_pull_more():
    """Two tasks, r = (1.6, 0.4), equal norms: from w = (1, 1) to w_1 = mean(G) r_1^alpha."""
    balancer = GradNorm(("energy", "forces"), alpha=0.5, rate=0.002, reference_batches=1)
    balancer.update(tensor(1.0, 1.0), ALL[:2], tensor(1.0, 1.0))
    run(balancer, tensor(0.8, 0.2), tensor(1.0, 1.0))
    assert torch.allclose(balancer.weights, tensor(1.6**0.5, 2 - 1.6**0.5), rtol=1e-2)


def test_gradnorm_does_not_depend_on_the_units_of_a_loss():
    """Losses and norms in other units give weights in the inverse units, up to the sum."""
    a, b = (GradNorm(("energy", "forces"), alpha=1.0, reference_batches=3) for _ in range(2))
    factor = tensor(1.0, 10.0)
    a.weights.copy_(2 * tensor(10.0, 1.0) / 11)
    b.weights.copy_(tensor(1.0, 1.0))
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        losses, norms = torch.rand(2, 2, generator=generator, dtype=torch.float64)
        a.update(losses, ALL[:2], norms)
        b.update(losses / factor, ALL[:2], norms / factor)
    ratios = [float(x.weights[0] / x.weights[1]) for x in (a, b)]
    # b's loss of the second task is ten times smaller: the same pull needs ten times the weight.
    assert ratios[0] / ratios[1] == pytest.approx(10.0)


def test_gradnorm_waits_for_its_reference_losses():
    balancer = GradNorm(("energy", "forces"), alpha=1.0, reference_batches=3)
    for k in range(2):
        balancer.update(tensor(1.0 + k, 2.0), ALL[:2], tensor(1.0, 9.0))
    assert torch.equal(balancer.weights, tensor(1.0, 1.0))
    balancer.update(tensor(3.0, 2.0), ALL[:2], tensor(1.0, 9.0))
    assert not torch.equal(balancer.weights, tensor(1.0, 1.0))
    assert torch.allclose(balancer.sums / balancer.counts, tensor(2.0, 2.0))


def test_a_task_without_labels_keeps_its_weight():
    balancer = GradNorm(TASKS, {"dipole": 4.0}, reference_batches=1)
    balancer.update(tensor(1.0, 1.0, 1.0), ALL, tensor(1.0, 1.0, 0.25))
    before = balancer.weights.clone()
    balancer.update(tensor(1.0, 1.0, 0.0), torch.tensor([True, True, False]), tensor(1.0, 9.0, 0.0))
    assert balancer.weights[2] == before[2]
    assert balancer.weights[0] > before[0]
    balancer.update(tensor(1.0, 0.0, 0.0), torch.tensor([True, False, False]), tensor(9.0, 0, 0))
    assert balancer.weights.sum() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("kind", "more"), [(SoftAdapt, {"window": 3}), (GradNorm, {"reference_batches": 4})]
)
def test_a_checkpoint_holds_all_that_a_balancer_knows(kind, more):
    generator = torch.Generator().manual_seed(2)
    batches = [torch.rand(2, 3, generator=generator) for _ in range(20)]
    straight, first, second = (make(kind, **more) for _ in range(3))
    for losses, norms in batches:
        straight.update(losses, ALL, norms)
    for losses, norms in batches[:8]:
        first.update(losses, ALL, norms)
    second.load_state_dict(first.state_dict())
    for losses, norms in batches[8:]:
        second.update(losses, ALL, norms)
    assert torch.equal(straight.weights, second.weights)


@pytest.mark.parametrize("weights", [{"energy": 0.0}, {"energy": -1.0}, {"charge": 1.0}])
def test_weights_that_cannot_be(weights):
    with pytest.raises(InputError):
        Balancer(TASKS, weights)
