from __future__ import annotations

import numpy as np
import pytest

from kitt_engines.model import VOCABULARY, ModelSize
from kitt_engines.transformer import KeyValueCache, Transformer

SIZE = ModelSize("test", layers=3, width=32, heads=4, context=128)
TOKENS = [int(token) for token in np.random.default_rng(5).integers(0, VOCABULARY, 40)]


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(SIZE, seed=1)


def full(model: Transformer, tokens: list[int]) -> np.ndarray:
    return model.forward(tokens, KeyValueCache(SIZE, len(tokens)))


def test_decoding_with_the_cache_is_recomputing_everything(model: Transformer) -> None:
    whole = full(model, TOKENS)
    cache = KeyValueCache(SIZE, len(TOKENS))
    stepwise = [model.forward(TOKENS[:10], cache)[-1]]
    for position in range(10, len(TOKENS)):
        logits = model.forward(TOKENS[position : position + 1], cache)[-1]
        stepwise.append(logits)
        np.testing.assert_allclose(logits, full(model, TOKENS[: position + 1])[-1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.array(stepwise), whole[9:], rtol=1e-4, atol=1e-4)


def test_prefill_in_blocks_is_prefill_at_once(model: Transformer) -> None:
    cache = KeyValueCache(SIZE, len(TOKENS))
    blocks = [model.forward(TOKENS[start : start + 16], cache) for start in range(0, len(TOKENS), 16)]
    np.testing.assert_allclose(np.concatenate(blocks), full(model, TOKENS), rtol=1e-4, atol=1e-4)
    assert cache.length == len(TOKENS)


def test_no_token_sees_what_comes_after_it(model: Transformer) -> None:
    changed = [*TOKENS[:20], (TOKENS[20] + 1) % VOCABULARY, *TOKENS[21:]]
    before, after = full(model, TOKENS), full(model, changed)
    np.testing.assert_array_equal(before[:20], after[:20])
    assert (np.abs(before[20:] - after[20:]).max(axis=1) > 1e-3).all(), "and each sees what came before"


def test_order_matters(model: Transformer) -> None:
    swapped = [TOKENS[1], TOKENS[0], *TOKENS[2:]]
    assert not np.allclose(full(model, swapped)[-1], full(model, TOKENS)[-1], atol=1e-3)


def test_the_seed_makes_the_weights(model: Transformer) -> None:
    np.testing.assert_array_equal(full(Transformer(SIZE, seed=1), TOKENS), full(model, TOKENS))
    assert not np.allclose(full(Transformer(SIZE, seed=2), TOKENS), full(model, TOKENS), atol=1e-2)


def test_single_precision_throughout(model: Transformer) -> None:
    assert full(model, TOKENS).dtype == np.float32
    assert model.nbytes == 4 * model.parameters


def test_the_parameters_are_counted(model: Transformer) -> None:
    width = SIZE.width
    block = 12 * width * width + 2 * width
    assert model.parameters == 2 * VOCABULARY * width + width + SIZE.layers * block


def test_a_full_cache_takes_nothing_more(model: Transformer) -> None:
    cache = KeyValueCache(SIZE, 3)
    model.forward([1, 2, 3], cache)
    with pytest.raises(ValueError, match="4 tokens do not fit into a cache of 3"):
        model.forward([4], cache)
