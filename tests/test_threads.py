import multiprocessing
import threading

import numpy as np
import pytest

from segue.kernels import threads


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("chunk", [0, 1, 3, 1000])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_row_is_worked_on_once(rows, chunk, workers):
    seen = np.zeros(rows, np.int64)
    lock = threading.Lock()

    def work(start, stop):
        assert 0 <= start < stop <= rows
        with lock:
            seen[start:stop] += 1

    threads.run(work, rows, chunk=chunk, threads=workers)
    assert (seen == 1).all()


def test_more_than_one_thread_works():
    meeting = threading.Barrier(2, timeout=20)
    threads.run(lambda start, stop: meeting.wait(), 2, chunk=1, threads=2)  # breaks if one thread does both


def test_an_error_in_any_range_reaches_the_caller_and_stops_the_others():
    done = []

    def work(start, stop):
        if start == 3:
            raise ValueError("row 3")
        done.append(start)

    with pytest.raises(ValueError, match="row 3"):
        threads.run(work, 10_000, chunk=1, threads=2)
    assert len(done) < 9_999


def test_an_error_in_a_helper_reaches_the_caller():
    meeting = threading.Barrier(2, timeout=20)
    here = threading.get_ident()

    def work(start, stop):
        meeting.wait()
        if threading.get_ident() != here:
            raise ValueError("in the helper")

    with pytest.raises(ValueError, match="in the helper"):
        threads.run(work, 2, chunk=1, threads=2)


def test_calls_within_calls_do_not_wait_for_each_other():
    total = []
    threads.run(
        lambda a, b: threads.run(lambda c, d: total.append((a, c)), 4, chunk=1, threads=3),
        4,
        chunk=1,
        threads=3,
    )
    assert sorted(total) == [(a, c) for a in range(4) for c in range(4)]


def test_many_callers_at_once():
    sums = np.zeros(8)

    def call(me):
        def work(start, stop):
            sums[me] += stop - start

        threads.run(work, 1000, chunk=10, threads=1)

    callers = [threading.Thread(target=call, args=(me,)) for me in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert (sums == 1000).all()


def _in_child(queue):
    done = []
    threads.run(lambda a, b: done.append(b - a), 10, chunk=1, threads=2)
    queue.put(sum(done))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_pool():
    if "fork" not in multiprocessing.get_all_start_methods():
        return  # nothing to inherit where processes are always started anew
    threads.run(lambda a, b: None, 10, chunk=1, threads=2)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == 10


def test_the_number_of_threads_can_be_named(monkeypatch):
    monkeypatch.setenv("SEGUE_THREADS", "3")
    assert threads.available() == 3
    for bad in ("0", "-1", "many", ""):
        monkeypatch.setenv("SEGUE_THREADS", bad)
        assert threads.available() >= 1
