"""Answers of a function that is given images in batches."""

import numpy as np
import pytest

from sim import golden


@pytest.mark.parametrize("batch", [1, 700, 100_000])
def test_answers_do_not_depend_on_the_batch(monkeypatch, batch):
    rng = np.random.default_rng(0)
    images, weights = rng.integers(0, 256, (13, 2, 6, 5)), rng.normal(size=(60, 4))
    monkeypatch.setattr(golden, "BATCH", batch)
    found = golden.answers(lambda x: (x.reshape(len(x), -1) @ weights)[:, :, None, None], images)
    assert found.shape == (13,) and (found == (images.reshape(13, -1) @ weights).argmax(1)).all()
