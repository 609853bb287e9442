"""self-certainty: the mean over tokens, with and without the constant."""

from __future__ import annotations

import math

import pytest

GOLDEN = 0.581055
"""KL(U || p) of logits [2, 0, -1, 0.5]."""


def test_it_is_the_mean_over_tokens(build):
    assert build("self-certainty")([GOLDEN, 0.0, 2 * GOLDEN], 4) == pytest.approx(GOLDEN)


def test_the_authors_leave_the_constant_out(build):
    score = build("self-certainty", constant=False)([GOLDEN], 4)
    z = [2.0, 0.0, -1.0, 0.5]
    assert score == pytest.approx(math.log(sum(map(math.exp, z))) - sum(z) / 4, abs=1e-6)


def test_a_completion_without_a_token_has_no_score(build):
    assert build("self-certainty")([], 4) is None
