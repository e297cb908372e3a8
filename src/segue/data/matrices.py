"""Check sparse matrices that callers pass."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from segue.errors import DataError
from segue.types import CSR


def clean_csr(matrix: sp.sparray | sp.spmatrix, column: str = "column") -> CSR:
    """Return a float32 CSR copy with duplicates summed and finite weights.

    Args:
        matrix: any sparse matrix.
        column: the word for a column in messages.

    Raises:
        DataError: a weight is not finite; the message names its row and column.
    """
    csr = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
    csr.sum_duplicates()
    bad = np.flatnonzero(~np.isfinite(csr.data))
    if len(bad):
        row = int(np.searchsorted(csr.indptr, bad[0], side="right")) - 1
        raise DataError(
            f"the weight of row {row}, {column} {csr.indices[bad[0]]} is {csr.data[bad[0]]}; "
            "weights must be finite"
        )
    return csr
