import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.kernels.topk import empty_heap, sink, sort_heap, worse


@numba.njit
def through_heap(scores, k):
    best, ids = np.empty(k, np.float32), np.empty(k, np.int32)
    empty_heap(best, ids, 0, k)
    for i in range(len(scores)):
        if worse(best[0], ids[0], scores[i], i):
            sink(best, ids, 0, k, scores[i], i)
    sort_heap(best, ids, 0, k)
    return best, ids


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]), max_size=60), st.integers(1, 70))
def test_heap_keeps_the_best_by_score_then_id(values, k):
    scores = np.array(values, np.float32)
    best, ids = through_heap(scores, k)
    order = np.lexsort((np.arange(len(scores)), -scores))[:k]
    count = len(order)
    assert ids[:count].tolist() == order.tolist()
    assert best[:count].tolist() == scores[order].tolist()
    assert (ids[count:] == -1).all()
    assert (best[count:] == -np.inf).all()
