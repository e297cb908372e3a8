// Filters: one field for each column of the item metadata, and the conditions that their values make.

import { byId, create, debounce } from "./element.js";

const NUMBER_DELAY = 350; // milliseconds after the last key until a number takes effect

function createChoice(facet, onChange) {
  const id = `facet-${facet.column}`;
  const options = facet.values.map(({ value, items }) =>
    create("option", { value }, `${value} (${items.toLocaleString("en")})`));
  const select = create("select", { id }, create("option", { value: "" }, "any"), ...options);
  select.addEventListener("change", onChange);
  const conditions = () => (select.value ? [`${facet.column}=${select.value}`] : []);
  return { conditions, fields: [select], element: create("div", {}, create("label", { htmlFor: id }, facet.column), select) };
}

function createRange(facet, onChange) {
  const onInput = debounce(NUMBER_DELAY, onChange);
  const bounds = [["from", ">=", facet.min], ["to", "<=", facet.max]].map(([word, operator, bound]) => {
    const field = create("input", { type: "number", step: "any", placeholder: String(bound), ariaLabel: `${facet.column} ${word}` });
    field.addEventListener("input", onInput);
    return { field, operator };
  });
  const conditions = () => bounds.filter(({ field }) => field.value !== "")
    .map(({ field, operator }) => `${facet.column}${operator}${field.value}`);
  const fields = bounds.map(({ field }) => field);
  const element = create("div", { role: "group", ariaLabel: facet.column },
    create("span", { className: "label" }, facet.column), create("div", { className: "row" }, ...fields));
  return { conditions, fields, element };
}

// Create the fields; returns a function that returns the current conditions.
export function createFilters(facets, onChange) {
  let controls = [];
  const conditions = () => controls.flatMap((control) => control.conditions());
  const changed = () => { byId("remove-filters").hidden = !conditions().length; onChange(); };
  controls = facets.map((facet) => (facet.kind === "number" ? createRange : createChoice)(facet, changed));
  byId("facets").replaceChildren(...controls.map((control) => control.element));
  byId("filters").hidden = !controls.length;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("remove-filters").addEventListener("click", () => {
    for (const field of controls.flatMap((control) => control.fields)) field.value = "";
    changed();
    controls[0].fields[0].focus();
  });
  return conditions;
}
