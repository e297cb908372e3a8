// The page: the current user, what they do, and the lists and the map that follow from it.

import { call, idPath, queryString } from "./api.js";
import { openItem, refreshDetails } from "./details.js";
import { announce, byId, create, debounce, itemName } from "./element.js";
import { createFilters } from "./filters.js";
import { draw, itemCount, setItems, setUser } from "./map.js";
import { showOperator } from "./operator.js";
import { fillPanel, reasonText } from "./panels.js";

const K = 8; // items of a panel
const MAX_POINTS = 2000; // items on the map
const MAX_EVENTS = 50; // events in the history of the user
const USER = "segue-user";
const SOURCES = {
  profile: "Based on their events since training.",
  trained: "Based on the training data.",
  popular: "Nothing is known about this user yet, so these are the most popular items. Like an item to begin.",
};

const state = {
  user: "", seed: 1, marks: new Map(), sending: new Set(), events: [], query: "", request: 0, version: null,
};
let conditions = () => [];

const randomNumber = () => crypto.getRandomValues(new Uint32Array(1))[0];
const randomSeed = () => randomNumber() % 2 ** 31;
const newVisitor = () => `visitor-${randomNumber().toString(36)}`;

async function attempt(action) {
  try {
    byId("error").hidden = true;
    return await action();
  } catch (error) {
    byId("error").textContent = error.message;
    byId("error").hidden = false;
    if (error.status === undefined) throw error;
    return null;
  }
}

const actions = {
  open: (item) => attempt(() => openItem(item, { marks: state.marks, actions, where: conditions() })),
  mark: (item, kind) => attempt(() => mark(item, kind)),
};

const postEvents = (events) => call("/v1/events", { method: "POST", body: events });

async function mark(item, kind) {
  const id = String(item.item_id);
  if (state.sending.has(id)) return;
  const current = state.marks.get(id);
  const kinds = [...(current ? ["clear"] : []), ...(current === kind ? [] : [kind])];
  state.sending.add(id);
  try {
    await postEvents(kinds.map((eventKind) => ({ user_id: state.user, item_id: id, kind: eventKind })));
  } finally {
    state.sending.delete(id);
  }
  await refresh();
  const verb = current === kind ? "Removed" : kind === "like" ? "Liked" : "Disliked";
  announce(`${verb} ${itemName(item)}. The lists have changed.`);
}

async function undo() {
  const last = state.events.at(-1);
  if (!last) return;
  await postEvents({ user_id: state.user, item_id: String(last.item_id), kind: "clear" });
  await refresh();
  announce(`Removed ${itemName(last)}. The lists have changed.`);
}

// Load all lists and the user; the responses to an outdated request are dropped.
async function refresh() {
  const request = ++state.request;
  byId("main").setAttribute("aria-busy", "true");
  try {
    await load(request);
  } finally {
    if (request === state.request) byId("main").setAttribute("aria-busy", "false");
  }
}

async function load(request) {
  const path = `/v1/recommend/${idPath(state.user)}`;
  const scale = Number(byId("exploration").value), strength = Number(byId("diversity").value);
  const where = conditions();
  const list = (options) =>
    call(`${path}?${queryString({ k: K, where, explain: true, seed: state.seed, ...options })}`);
  const [matches, best, noise, buckets, user] = await Promise.all([
    state.query ? call(`/v1/search?${queryString({ q: state.query, k: K, where })}`) : { items: [] },
    list({ diversify: strength ? `mmr:${strength}` : null }),
    list({ explore: `gaussian:${scale}` }),
    list({ explore: `buckets:${(0.2 * scale).toFixed(2)}` }),
    call(`/v1/users/${idPath(state.user)}?limit=${MAX_EVENTS}`),
  ]);
  if (request !== state.request) return;
  state.events = user.events;
  state.marks.clear();
  for (const { item_id, weight } of user.events) {
    if (weight) state.marks.set(String(item_id), weight > 0 ? "like" : "dislike");
  }
  byId("version").textContent = `model ${best.model_version}`;
  showLists(matches, best, noise, buckets);
  refreshDetails();
  showUser(user);
  setUser(user, best.items);
  if (best.model_version !== state.version) {
    state.version = best.model_version;
    await loadMap();
  }
}

function showLists(matches, best, noise, buckets) {
  const options = { marks: state.marks, actions, describe: reasonText, empty: "No items match the filters." };
  fillPanel(byId("panel-search"), matches.items, { ...options, describe: () => "",
    empty: state.query ? `No results for “${state.query}”.` : "Search for an item to like." });
  fillPanel(byId("panel-best"), best.items, options);
  fillPanel(byId("panel-noise"), noise.items, options);
  fillPanel(byId("panel-buckets"), buckets.items, options);
}

function showUser(user) {
  byId("source").textContent = SOURCES[user.source] ?? "";
  byId("history-note").textContent = user.events.length
    ? "Latest first. Each event updates the profile at once."
    : user.trained_items ? `${user.trained_items.toLocaleString("en")} items in training, no events since.` : "No events yet.";
  if (!user.events.length && document.activeElement === byId("undo")) byId("main").focus();
  byId("undo").disabled = !user.events.length;
  byId("history").replaceChildren(...user.events.toReversed().map(createEventRow));
}

function createEventRow(event) {
  const isKnown = event.title !== null || event.position !== null;
  const direction = event.weight > 0 ? "up" : event.weight < 0 ? "down" : "";
  const name = isKnown
    ? create("button", { type: "button", className: "title", onclick: () => actions.open(event) }, itemName(event))
    : create("span", {}, itemName(event));
  return create("li", { className: "item" }, name, create("span", { className: `reason kind ${direction}` },
    `${event.kind} · ${new Date(1000 * event.time).toLocaleString()}`));
}

async function loadMap() {
  const { items } = await call(`/v1/map?limit=${MAX_POINTS}`);
  byId("map-note").textContent =
    `The ${items.length.toLocaleString("en")} items with the most users, on the two axes along which items differ most.`;
  setItems(items, actions.open);
}

function switchUser(user) {
  state.user = user;
  state.seed = randomSeed();
  localStorage.setItem(USER, user);
  byId("user").value = user;
  return attempt(refresh);
}

function showView() {
  const isOperator = location.hash === "#operator";
  byId("operator").hidden = !isOperator;
  byId("explore").hidden = isOperator;
  for (const [id, isCurrent] of [["to-operator", isOperator], ["to-explore", !isOperator]]) {
    if (isCurrent) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
  document.title = isOperator ? "Operator · segue" : "segue";
  if (isOperator) attempt(showOperator);
  else if (itemCount()) draw();
}

function connectSliders() {
  for (const id of ["exploration", "diversity"]) {
    const showValue = () => { byId(`${id}-value`).textContent = Number(byId(id).value).toFixed(1); };
    showValue();
    byId(id).addEventListener("input", showValue);
    byId(id).addEventListener("input", debounce(150, () => attempt(refresh)));
  }
}

async function search() {
  state.query = byId("query").value.trim();
  await attempt(refresh);
  const count = byId("panel-search").querySelectorAll(".item").length;
  if (state.query) announce(`${count} results for ${state.query}.`);
}

async function start() {
  connectSliders();
  byId("settings").open = matchMedia("(min-width: 1000px)").matches;
  byId("user-form").addEventListener("submit", (event) => {
    event.preventDefault();
    switchUser(byId("user").value.trim() || newVisitor());
  });
  byId("visitor").addEventListener("click", () => switchUser(newVisitor()));
  byId("search").addEventListener("submit", (event) => event.preventDefault());
  byId("search").addEventListener("submit", search);
  byId("query").addEventListener("input", debounce(200, search));
  byId("resample").addEventListener("click", () => { state.seed = randomSeed(); attempt(refresh); });
  byId("undo").addEventListener("click", () => attempt(undo));
  byId("refresh").addEventListener("click", () => attempt(showOperator));
  addEventListener("hashchange", () => { showView(); byId("main").focus(); });
  showView();
  await attempt(async () => {
    const { facets } = await call("/v1/facets");
    conditions = createFilters(facets, () => attempt(refresh));
  });
  const user = new URLSearchParams(location.search).get("user");
  await switchUser(user || localStorage.getItem(USER) || newVisitor());
}

start();
