// Elements created from text: nothing that comes from the service is parsed as HTML.

export const byId = (id) => document.getElementById(id);

export function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function createTable(caption, headings, rows) {
  const head = create("tr", {}, ...headings.map((heading) => create("th", { scope: "col" }, heading)));
  const body = rows.map(([first, ...rest]) =>
    create("tr", {}, create("th", { scope: "row" }, first), ...rest.map((cell) => create("td", {}, cell))));
  const table = create("table", {}, create("caption", { className: "hidden" }, caption),
    create("thead", {}, head), create("tbody", {}, ...body));
  return create("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption }, table);
}

export function createDescriptions(pairs) {
  return create("dl", {}, ...pairs.flatMap(([name, value]) => [create("dt", {}, name), create("dd", {}, value)]));
}

export function announce(text) { byId("status").textContent = text; }

export const itemName = (item) => String(item.title ?? item.item_id);

export function debounce(milliseconds, action) {
  let timer = 0;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => action(...values), milliseconds); };
}
