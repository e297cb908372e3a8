// The details dialog: the metadata of an item, its reasons, and similar items.

import { call, idPath, queryString } from "./api.js";
import { byId, create, createDescriptions, itemName } from "./element.js";
import { fillPanel, scoreParts } from "./panels.js";

const K = 8;
const dialog = byId("details");
const formatValue = (value) => (Array.isArray(value) ? value.join(", ") : String(value)).replaceAll("|", ", ");

export async function openItem(item, { marks, actions, where }) {
  const path = idPath(item.item_id);
  const [details, similar] = await Promise.all([
    call(`/v1/items/${path}`),
    call(`/v1/similar/${path}?${queryString({ k: K, where })}`),
  ]);
  const { model_version, item_id, title, users, ...metadata } = details;
  byId("details-title").textContent = itemName({ item_id, title });
  const pairs = Object.entries(metadata).filter(([, value]) => value !== null && value !== "");
  const panel = create("div", {}, create("ol", { className: "items" }));
  const refill = () => fillPanel(panel, similar.items, {
    marks, actions, empty: "No similar items match the filters.", describe: (neighbor) => `similarity ${neighbor.score.toFixed(2)}`,
  });
  byId("details-body").replaceChildren(
    createDescriptions([...pairs.map(([name, value]) => [name, formatValue(value)]), ["users", users.toLocaleString("en")], ["id", String(item_id)]]),
    ...reasonElements(item), create("h3", {}, "Similar items"), panel);
  refill();
  dialog.refill = refill;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function reasonElements(item) {
  const parts = scoreParts(item);
  if (!parts.length) return [];
  return [create("h3", {}, "Why it is recommended"), createDescriptions(parts.map((part) => [`${part.percent}%`, part.name]))];
}

export function refreshDetails() { if (dialog.open) dialog.refill(); }

byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
