// Filters: a field for each column of the items' metadata, and the conditions that they come to.

import { by, later, make } from "./element.js";

const SLOW = 350; // milliseconds after the last key until a number counts

function choice(facet, changed) {
  const id = `facet-${facet.column}`;
  const options = facet.values.map((one) =>
    make("option", { value: one.value }, `${one.value} (${one.items.toLocaleString("en")})`));
  const select = make("select", { id }, make("option", { value: "" }, "any"), ...options);
  select.addEventListener("change", changed);
  const read = () => (select.value ? [`${facet.column}=${select.value}`] : []);
  return { read, fields: [select], element: make("div", {}, make("label", { htmlFor: id }, facet.column), select) };
}

function range(facet, changed) {
  const slow = later(SLOW, changed);
  const ends = [["from", ">=", facet.least], ["to", "<=", facet.most]].map(([word, sign, bound]) => {
    const field = make("input", { type: "number", step: "any", placeholder: String(bound), ariaLabel: `${facet.column} ${word}` });
    field.addEventListener("input", slow);
    return { field, sign };
  });
  const read = () => ends.filter((one) => one.field.value !== "").map((one) => `${facet.column}${one.sign}${one.field.value}`);
  const fields = ends.map((one) => one.field);
  const named = make("div", { role: "group", ariaLabel: facet.column }, make("span", { className: "label" }, facet.column), make("div", { className: "row" }, ...fields));
  return { read, fields, element: named };
}

export function filters(facets, changed) {
  let made = [];
  const told = () => { by("unfilter").hidden = !where().length; changed(); };
  const where = () => made.flatMap((one) => one.read());
  made = facets.map((facet) => (facet.kind === "number" ? range : choice)(facet, told));
  by("facets").replaceChildren(...made.map((one) => one.element));
  by("filters").hidden = !made.length;
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("unfilter").addEventListener("click", () => {
    for (const field of made.flatMap((one) => one.fields)) field.value = "";
    told();
    made[0].fields[0].focus();
  });
  return where;
}
