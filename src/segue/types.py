"""Types that several folders share: the sparse matrix alias."""

from __future__ import annotations

from typing import TypeAlias

import scipy.sparse as sp

CSR: TypeAlias = sp.csr_matrix
