// The lists: an item with its reasons and its two buttons, and what fills a panel.

import { by, make, nameOf } from "./element.js";

// The shares of a score that add to it, the largest first, as parts of all that does.
export function reasons(item) {
  const added = (item.why ?? []).filter((one) => one.share > 0);
  const whole = added.reduce((sum, one) => sum + one.share, 0);
  return added.map((one) => ({
    name: one.reason === "pick" ? nameOf(one) : "everything else", pick: one.reason === "pick",
    percent: Math.round(100 * one.share / whole),
  }));
}

export function reasonOf(item) {
  const said = [];
  const best = reasons(item).find((one) => one.pick && one.percent > 0);
  if (best) said.push(`Because of ${best.name} (${best.percent}%)`);
  else if (item.why) said.push("By taste as trained");
  if (item.propensity != null) said.push(`${Math.round(100 * item.propensity)}% chance`);
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
