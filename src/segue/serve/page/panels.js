// The lists: an item with its reasons and its two buttons, and what fills a panel.

import { by, make, nameOf } from "./element.js";

const TOO_LITTLE = 0.02; // of the whole, below which a reason is not worth a word

export function reasonOf(item) {
  const said = [];
  const picks = (item.why ?? []).filter((one) => one.reason === "pick");
  const whole = (item.why ?? []).reduce((sum, one) => sum + Math.abs(one.share), 0);
  const best = picks.filter((one) => one.share > TOO_LITTLE * whole).slice(0, 2);
  if (best.length) said.push(`Because of ${best.map(nameOf).join(" and ")}`);
  else if (picks.length) said.push("By little of each pick");
  else if (item.why) said.push("By taste as trained");
  if (item.propensity != null) said.push(`shown with ${Math.round(100 * item.propensity)}% chance`);
  return said.join(" · ");
}

function row(item, reason, marks, act) {
  const made = by("item").content.cloneNode(true).querySelector(".item");
  const name = nameOf(item);
  made.dataset.id = String(item.item_id);
  const title = made.querySelector(".title");
  title.textContent = name;
  title.addEventListener("click", () => act.open(item));
  made.querySelector(".why").textContent = reason;
  for (const kind of ["like", "dislike"]) {
    const button = made.querySelector(`.${kind}`);
    button.setAttribute("aria-label", `${kind === "like" ? "Like" : "Dislike"} ${name}`);
    button.setAttribute("aria-pressed", String(marks.get(String(item.item_id)) === kind));
    button.addEventListener("click", () => act.mark(item, kind));
  }
  return made;
}

// Where the focus was on a button of an item that is gone, the one that took its place gets it.
export function fill(panel, items, { marks, act, reason = () => "", empty }) {
  const list = panel.querySelector(".items");
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const place = focused ? [...list.children].indexOf(focused.closest("li")) : -1;
  const kind = focused?.className;
  const id = focused?.closest("li").dataset.id;
  const before = new Set([...list.querySelectorAll(".item")].map((one) => one.dataset.id));
  const rows = items.map((item) => row(item, reason(item), marks, act));
  for (const one of rows) if (before.size && !before.has(one.dataset.id)) one.classList.add("new");
  list.replaceChildren(...(rows.length ? rows : [make("li", { className: "empty" }, empty)]));
  if (!focused || !rows.length) return;
  const next = rows.find((one) => one.dataset.id === id) ?? rows[Math.min(place, rows.length - 1)];
  next.querySelector(`.${kind}`)?.focus();
}
