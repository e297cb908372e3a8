"""Wishes: what is asked of a list, checked against the limits, whoever it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.errors import SettingError
from segue.online import MMR
from segue.recommender.options import ListOptions
from segue.serve.events.base import checked_id
from segue.serve.settings import Limits


@dataclass(frozen=True)
class Wish:
    """How a list is to be.

    Attributes:
        k: how many items.
        allow: the only items that may be given, or None.
        deny: items that may not.
        where: conditions on the items' metadata, such as `genres=Drama`.
        exclude_seen: whether items that the person had are left out.
        explore: a name in `segue.online.EXPLORERS`, with the value of its dial where wanted: `gumbel:0.5`.
        diversity: from 0, the best items, to 1, items that are as unlike each other as can be.
        seed: of the exploration; None: another at each time, told with the list.
        why: whether reasons are told with the items.
    """

    k: int = 10
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    exclude_seen: bool = True
    explore: str | None = None
    diversity: float = 0.0
    seed: int | None = None
    why: bool = False

    @property
    def plain(self) -> bool:
        """Whether the best are wanted, without words."""
        return self.explore is None and not self.diversity and not self.why

    def list_options(self, seed: int) -> ListOptions:
        """Return how the list is chosen, or raise `SettingError`."""
        diversify = MMR(strength=self.diversity) if self.diversity else None
        return ListOptions(max(1, self.k), explore=self.explore, diversify=diversify, seed=seed)


def checked(wish: Wish, limits: Limits) -> Wish:
    """Return a wish that is within the limits, or raise `SettingError`."""
    if not 1 <= wish.k <= limits.k:
        raise SettingError(f"k={wish.k} must be 1 to {limits.k:,}")
    for name, ids in (("allow", wish.allow or ()), ("deny", wish.deny)):
        check_ids(ids, name, limits)
    wish.list_options(0)
    return wish


def check_ids(ids: Sequence[str], name: str, limits: Limits) -> None:
    """Raise for a list of ids that is too long, or of ids that cannot be."""
    if len(ids) > limits.ids:
        raise SettingError(f"{name} has {len(ids):,} ids; at most {limits.ids:,} are taken")
    for one in ids:
        checked_id(one, name)
