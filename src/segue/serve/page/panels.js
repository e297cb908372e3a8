// Panels: lists of items with their reasons and their like and dislike buttons.

import { byId, create, itemName } from "./element.js";

// The parts that raise a score, largest first, each as a percentage of their sum.
export function scoreParts(item) {
  const parts = [];
  let rest = 0;
  for (const { reason, value, title, share } of item.reasons ?? []) {
    if (reason === "pick" || reason === "feature") parts.push({ name: String(title ?? value), share });
    else rest += share;
  }
  if (rest) parts.push({ name: "everything else", share: rest, isRest: true });
  const positive = parts.filter((part) => part.share > 0);
  const sum = positive.reduce((total, part) => total + part.share, 0);
  return positive.map((part) => ({ ...part, percent: Math.round(100 * part.share / sum) }));
}

export function reasonText(item) {
  const texts = [];
  const main = scoreParts(item).find((part) => !part.isRest && part.percent > 0);
  if (main) texts.push(`Because of ${main.name} (${main.percent}%)`);
  else if (item.reasons) texts.push("From the trained profile");
  if (item.propensity != null) texts.push(`${Math.round(100 * item.propensity)}% chance`);
  return texts.join(" · ");
}

function createRow(item, text, marks, actions) {
  const row = byId("item").content.cloneNode(true).querySelector(".item");
  const name = itemName(item);
  row.dataset.id = String(item.item_id);
  const title = row.querySelector(".title");
  title.textContent = name;
  title.addEventListener("click", () => actions.open(item));
  row.querySelector(".reason").textContent = text;
  for (const kind of ["like", "dislike"]) {
    const button = row.querySelector(`.${kind}`);
    button.setAttribute("aria-label", `${kind === "like" ? "Like" : "Dislike"} ${name}`);
    button.setAttribute("aria-pressed", String(marks.get(String(item.item_id)) === kind));
    button.addEventListener("click", () => actions.mark(item, kind));
  }
  return row;
}

// If the focused button belongs to an item that leaves the list, the button that takes its place gets the focus.
export function fillPanel(panel, items, { marks, actions, describe = () => "", empty }) {
  const list = panel.querySelector(".items");
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const index = focused ? [...list.children].indexOf(focused.closest("li")) : -1;
  const kind = focused?.className;
  const id = focused?.closest("li").dataset.id;
  const previous = new Set([...list.querySelectorAll(".item")].map((row) => row.dataset.id));
  const rows = items.map((item) => createRow(item, describe(item), marks, actions));
  for (const row of rows) if (previous.size && !previous.has(row.dataset.id)) row.classList.add("new");
  list.replaceChildren(...(rows.length ? rows : [create("li", { className: "empty" }, empty)]));
  if (!focused || !rows.length) return;
  const next = rows.find((row) => row.dataset.id === id) ?? rows[Math.min(index, rows.length - 1)];
  next.querySelector(`.${kind}`)?.focus();
}
