// An item by itself: what is known of it, and what is similar.

import { call, idPath, query } from "./api.js";
import { by, listed, make, nameOf } from "./element.js";
import { fill, reasons } from "./panels.js";

const K = 8;
const dialog = by("details");
const shown = (value) => (Array.isArray(value) ? value.join(", ") : String(value)).replaceAll("|", ", ");

export async function openItem(item, { marks, act, where }) {
  const path = idPath(item.item_id);
  const [known, similar] = await Promise.all([
    call(`/v1/items/${path}`),
    call(`/v1/similar/${path}?${query({ k: K, where })}`),
  ]);
  const { model_version, item_id, title, users, ...more } = known;
  by("details-title").textContent = nameOf({ item_id, title });
  const pairs = Object.entries(more).filter(([, value]) => value !== null && value !== "");
  const panel = make("div", {}, make("ol", { className: "items" }));
  const refill = () => fill(panel, similar.items, {
    marks, act, empty: "Nothing similar passes the filters.", reason: (one) => `similarity ${one.score.toFixed(2)}`,
  });
  by("details-body").replaceChildren(
    listed([...pairs.map(([name, value]) => [name, shown(value)]), ["users", users.toLocaleString("en")], ["id", String(item_id)]]),
    ...why(item), make("h3", {}, "Similar items"), panel);
  refill();
  dialog.refill = refill;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function why(item) {
  const told = reasons(item);
  if (!told.length) return [];
  return [make("h3", {}, "Why it is there"), listed(told.map((one) => [`${one.percent}%`, one.name]))];
}

export function refreshDetails() { if (dialog.open) dialog.refill(); }

by("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
