import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from segue.numerics.blas import on_one_thread


def blas_threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_the_number_comes_back_also_after_an_error():
    with threadpool_limits(2, "blas"):
        with on_one_thread(), on_one_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with pytest.raises(ZeroDivisionError), on_one_thread():
            raise ZeroDivisionError
        assert blas_threads() == {2}
