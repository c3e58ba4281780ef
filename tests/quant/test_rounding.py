"""Rounding with compensation: steps of each weight, its error, and filters side by side."""

import numpy as np
import pytest
import torch

from quant import rounding
from quant.rounding import Spread, gram, level_tables, nearest, round_weights, search_scales
from spec.numerics import Scheme
from tests.quant.test_ptq import problem

SCHEMES = [Scheme.POT4, Scheme.FIXED2, Scheme.FIXED4, Scheme.FIXED8, Scheme.CODEBOOK]
BOOK = np.array([-119, -40, -3, 2, 57], np.int16)


@pytest.mark.parametrize("groups, count, size", [(1, 40, 7), (3, 5, 9), (2, 1, 3)])
def test_mean_products(groups, count, size):
    x = torch.randn(count, groups, size).transpose(0, 1)
    assert torch.allclose(gram(x), torch.einsum("gnk,gnl->gkl", x, x) / count, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("groups", [1, 3])
def test_spread_is_the_factor_of_the_inverse(groups, dtype):
    """Upper, and its square times the damped Hessian in its order is one; a column of zeros comes last."""
    x = problem(0, groups)[3].to(dtype)
    x[:, :, 4] = 0
    hessian = gram(x)
    order, inverse, damping, idle = spread = Spread.of(hessian)
    damped = (hessian + torch.diag_embed(damping + idle))[:, order][:, :, order]
    assert torch.allclose(inverse.transpose(1, 2) @ inverse @ damped, torch.eye(20, dtype=dtype).expand(groups, -1, -1),
                          atol=1e-4 if dtype == torch.float32 else 1e-10)
    assert torch.equal(spread.inverse, spread.inverse.triu()) and int(order[-1]) == 4
    assert order[:-1].tolist() == hessian.diagonal(dim1=1, dim2=2).sum(0)[:].argsort(descending=True)[:-1].tolist()


@pytest.mark.parametrize("groups", [1, 3])
def test_the_error_is_that_of_the_products(groups):
    weight, schemes, scale, x = problem(1, groups)
    x[:, :, 3], weight[:, :, 3] = 0, 1e6 * weight[:, :, 3]       # what is multiplied by nothing has no error
    hessian = gram(x)
    spread = Spread.of(hessian)
    found, before = round_weights(weight, scale, schemes, spread)
    change = found - weight
    assert torch.allclose(spread.error(weight, found, before), (change @ hessian * change).sum(2), rtol=1e-3)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_step_of_each_weight_is_a_scale_of_its_column(groups):
    """Columns of weights and of what they are multiplied by, scaled one against the other."""
    weight, schemes, scale, x = problem(2, groups)
    factor = torch.exp2(torch.randint(-2, 3, (groups, 1, weight.shape[2])).float())
    plain = round_weights(weight * factor, scale, schemes, Spread.of(gram(x / factor)))[0] / factor
    # With the damping of the scaled columns, and in their order.
    spread = Spread.of(gram(x / factor))
    spread = spread._replace(inverse=spread.inverse / factor[:, :, spread.order])
    found = round_weights(weight, scale[..., None] / factor, schemes, spread)[0]
    assert torch.allclose(plain, found, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 3])
def test_filters_do_not_know_of_each_other(monkeypatch, groups):
    """Side by side or alone, in blocks of any size: all steps are the same."""
    weight, schemes, scale, x = problem(3, groups)
    spread, filters = Spread.of(gram(x)), weight.shape[1]
    whole = round_weights(weight, scale, schemes, spread)
    monkeypatch.setattr(rounding, "BLOCK", 7)
    for part, one in zip(whole, round_weights(weight, scale, schemes, spread), strict=True):
        assert torch.allclose(part, one, atol=1e-4)
    schemes = schemes.reshape(groups, -1)
    for at in range(filters):
        alone = round_weights(weight[:, at:at + 1], scale[:, at:at + 1], schemes[:, at], spread)
        assert torch.allclose(whole[0][:, at:at + 1], alone[0], atol=1e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_value_of_each_filter(scheme):
    """The nearest level as of a table, ties to the larger one, whatever is beyond the ends."""
    values = torch.cat([torch.randn(300) * 60, torch.arange(-300, 301) / 2, torch.tensor([torch.inf, -torch.inf])])
    (_, table), = tables = level_tables(np.full(len(values), scheme), BOOK)
    found = rounding._Grid.of(tables, len(values)).nearest(values)
    assert torch.equal(found, nearest(values, table))


def test_number_systems_side_by_side():
    schemes = np.resize([int(scheme) for scheme in SCHEMES], 400)
    values, tables = torch.randn(400) * 60, level_tables(schemes, BOOK)
    found = rounding._Grid.of(tables, 400).nearest(values)
    for rows, table in tables:
        assert torch.equal(found[rows], nearest(values[rows], table))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scales_in_blocks_are_the_same(monkeypatch, scheme):
    weight, importance = torch.randn(13, 30), torch.rand(13, 30)
    whole = search_scales(weight, np.full(13, scheme), importance, BOOK)
    monkeypatch.setattr(rounding, "NEAR", 64)
    assert torch.equal(whole, search_scales(weight, np.full(13, scheme), importance, BOOK))
    scale = whole[:, None]
    table = level_tables(np.full(1, scheme), BOOK)[0][1]
    for other in (0.9, 1.1):
        assert (rounding._error(weight, importance, scale, table)
                <= rounding._error(weight, importance, other * scale, table) * 1.2).all()


@pytest.mark.parametrize("scheme", [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8])
@pytest.mark.parametrize("alive", [3, 5000])
def test_a_sample_of_many_weights_finds_the_scale(monkeypatch, alive, scheme):
    """As good as all of them, also where few matter and where some are much larger than others."""
    torch.manual_seed(0)
    weight, importance, schemes = torch.randn(6, 5000), torch.rand(1, 5000), np.full(6, scheme)
    weight *= torch.distributions.Exponential(1.0).sample((1, 5000))
    importance[:, torch.randperm(5000)[:5000 - alive]] = 0
    table = level_tables(schemes, None)[0][1]
    errors = []
    for seen in (rounding.SEEN, 5000):
        monkeypatch.setattr(rounding, "SEEN", seen)
        scale = search_scales(weight, schemes, importance)[:, None]
        errors.append(rounding._error(weight, importance, scale, table))
    ratio = errors[0] / errors[1]
    assert ratio.mean() < 1.05 and ratio.max() < 1.3


def test_a_sample_counts_for_all():
    weight, importance = torch.randn(3, 2000), torch.rand(3, 2000)
    part, share = rounding._sample(weight, importance)
    assert part.shape == share.shape == (3, rounding.SEEN)
    assert torch.allclose(share.sum(1), importance.sum(1), rtol=0.05)
    largest = (importance * weight.square()).argmax(1)
    assert all(float(weight[row, at]) in part[row] for row, at in enumerate(largest))
