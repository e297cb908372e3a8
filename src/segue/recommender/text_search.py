"""Search items by text: by the text index of the model, or by titles if the model has no text."""

from __future__ import annotations

import numpy as np
import polars as pl

from segue.errors import DataError, SettingError
from segue.index.checks import check_k
from segue.recommender.state import RecommenderState
from segue.text.index import TextIndex

BOTH = "both"  # by words and by meaning


class ItemSearch:
    """Finds the items of one model by text."""

    def __init__(self, state: RecommenderState) -> None:
        self._texts: TextIndex | None = state.texts
        titles = None if state.texts is not None else state.titles(np.arange(len(state.items)))
        self._titles = _lower_titles(state.items.series if titles is None else titles)

    def find(
        self, query: str, k: int, *, by: str = BOTH, allow: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows (int32) and scores (float32) of the k best items for a query, best first.

        With a text index the scores are those of `TextIndex.search`. Without one the items are those with all
        words of the query in their title (or id, if there are no titles), the shortest title first, and each
        score is 1. `allow` is a bitmap (items,).

        Raises `DataError` for `by` other than "both" without a text index, `SettingError` for a query without
        words.
        """
        if self._texts is not None:
            return self._texts.search(query, k, by=by, allow=allow)
        if by != BOTH:
            raise DataError(
                f"by={by!r} needs text, and the model was fit without; fit it with text= and the columns "
                "that describe the items",
                arguments=("by", "text"),
            )
        return self._by_title(query, check_k(k), allow)

    def _by_title(self, query: str, k: int, allow: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        words = query.lower().split()
        if not words:
            raise SettingError(f"the query {query!r} has no words")
        table = self._titles if allow is None else self._titles.filter(pl.Series(allow))
        contains = [pl.col("title").str.contains(word, literal=True) for word in words]
        matches = table.filter(pl.all_horizontal(contains))
        best = matches.sort(pl.col("title").str.len_chars(), maintain_order=True).head(k)
        rows = best["row"].to_numpy().astype(np.int32)
        return rows, np.ones(len(rows), np.float32)


def _lower_titles(titles: pl.Series) -> pl.DataFrame:
    lower = titles.cast(pl.String).fill_null("").str.to_lowercase()
    return pl.DataFrame({"title": lower}).with_row_index("row")
