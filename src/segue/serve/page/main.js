// The page: who it is for, what they do, and what every part shows after it.

import { call, idPath, query } from "./api.js";
import { openItem, refreshDetails } from "./details.js";
import { by, later, make, nameOf, say } from "./element.js";
import { filters } from "./filters.js";
import { draw, setItems, setPerson, size } from "./map.js";
import { showOperator } from "./operator.js";
import { fill, reasonOf } from "./panels.js";

const K = 8; // items of a panel
const POINTS = 2000; // items of the map
const TRAIL = 50; // events of a person that are shown
const USER = "segue-user";
const SOURCES = {
  profile: "Known by what they did since training.",
  trained: "Known from training.",
  popular: "Nothing is known yet, so these are the most popular items. Like something.",
};

const state = { user: "", seed: 1, marks: new Map(), sending: new Set(), events: [], query: "", turn: 0, version: null };
let where = () => [];

const chance = () => crypto.getRandomValues(new Uint32Array(1))[0];

async function attempt(work) {
  try {
    by("error").hidden = true;
    return await work();
  } catch (error) {
    by("error").textContent = error.message;
    by("error").hidden = false;
    if (error.status === undefined) throw error;
    return null;
  }
}

const act = {
  open: (item) => attempt(() => openItem(item, { marks: state.marks, act, where: where() })),
  mark: (item, kind) => attempt(() => mark(item, kind)),
};

async function mark(item, kind) {
  const id = String(item.item_id);
  if (state.sending.has(id)) return;
  const had = state.marks.get(id);
  const kinds = [...(had ? ["clear"] : []), ...(had === kind ? [] : [kind])];
  state.sending.add(id);
  try {
    await call("/v1/events", { method: "POST", body: kinds.map((one) => ({ user_id: state.user, item_id: id, kind: one })) });
  } finally {
    state.sending.delete(id);
  }
  const done = had === kind ? "Took back" : kind === "like" ? "Liked" : "Disliked";
  await show();
  say(`${done} ${nameOf(item)}. The lists have changed.`);
}

async function undo() {
  const last = state.events.at(-1);
  if (!last) return;
  await call("/v1/events", { method: "POST", body: { user_id: state.user, item_id: String(last.item_id), kind: "clear" } });
  await show();
  say(`Took back ${nameOf(last)}. The lists have changed.`);
}

// Four lists and the person, asked for together; an answer that a later question overtook is dropped.
async function show() {
  const turn = ++state.turn;
  by("main").setAttribute("aria-busy", "true");
  try {
    await refresh(turn);
  } finally {
    if (turn === state.turn) by("main").setAttribute("aria-busy", "false");
  }
}

async function refresh(turn) {
  const path = `/v1/recommend/${idPath(state.user)}`;
  const strength = Number(by("exploration").value), diversity = Number(by("diversity").value);
  const asked = { k: K, where: where(), why: true, seed: state.seed };
  const [found, best, noise, buckets, person] = await Promise.all([
    state.query ? call(`/v1/search?${query({ q: state.query, k: K, where: where() })}`) : { items: [] },
    call(`${path}?${query({ ...asked, diversity: diversity || null })}`),
    call(`${path}?${query({ ...asked, explore: `gaussian:${strength}` })}`),
    call(`${path}?${query({ ...asked, explore: `buckets:${1 + Math.round(4 * strength)}` })}`),
    call(`/v1/users/${idPath(state.user)}?trail=${TRAIL}`),
  ]);
  if (turn !== state.turn) return;
  state.events = person.events;
  state.marks.clear();
  for (const one of person.events) if (one.weight) state.marks.set(String(one.item_id), one.weight > 0 ? "like" : "dislike");
  by("version").textContent = `model ${best.model_version}`;
  const given = { marks: state.marks, act, reason: reasonOf, empty: "Nothing passes the filters." };
  fill(by("panel-search"), found.items, { ...given, reason: () => "",
    empty: state.query ? `Nothing found for “${state.query}”.` : "Search for something to like." });
  fill(by("panel-best"), best.items, given);
  fill(by("panel-noise"), noise.items, given);
  fill(by("panel-buckets"), buckets.items, given);
  refreshDetails();
  showPerson(person);
  setPerson(person, best.items);
  if (best.model_version !== state.version) {
    state.version = best.model_version;
    await catalogue();
  }
}

function showPerson(person) {
  by("source").textContent = SOURCES[person.source] ?? "";
  by("trail-note").textContent = person.events.length
    ? "The latest first. Everything moves the profile at once."
    : person.trained_items ? `${person.trained_items.toLocaleString("en")} items in training, nothing since.` : "Nothing yet.";
  if (!person.events.length && document.activeElement === by("undo")) by("main").focus();
  by("undo").disabled = !person.events.length;
  by("trail").replaceChildren(...person.events.toReversed().map((one) =>
    make("li", { className: "item" },
      one.title === null && one.place === null ? make("span", {}, nameOf(one))
        : make("button", { type: "button", className: "title", onclick: () => act.open(one) }, nameOf(one)),
      make("span", { className: `why kind ${one.weight > 0 ? "up" : one.weight < 0 ? "down" : ""}` },
        `${one.kind} · ${new Date(1000 * one.time).toLocaleString()}`))));
}

async function catalogue() {
  const found = await call(`/v1/map?most=${POINTS}`);
  by("map-note").textContent =
    `${found.items.length.toLocaleString("en")} items with most users, by the two directions in which items differ most.`;
  setItems(found.items, act.open);
}

function become(user) {
  state.user = user;
  state.seed = chance() % 2 ** 31;
  localStorage.setItem(USER, user);
  by("user").value = user;
  return attempt(show);
}

function view() {
  const operator = location.hash === "#operator";
  by("operator").hidden = !operator;
  by("explore").hidden = operator;
  for (const [id, on] of [["to-operator", operator], ["to-explore", !operator]]) {
    if (on) by(id).setAttribute("aria-current", "page");
    else by(id).removeAttribute("aria-current");
  }
  document.title = operator ? "Operator · segue" : "segue";
  if (operator) attempt(showOperator);
  else if (size()) draw();
}

function sliders() {
  for (const id of ["exploration", "diversity"]) {
    const tell = () => { by(`${id}-value`).textContent = Number(by(id).value).toFixed(1); };
    tell();
    by(id).addEventListener("input", tell);
    by(id).addEventListener("input", later(150, () => attempt(show)));
  }
}

const visitor = () => `visitor-${chance().toString(36)}`;

async function start() {
  sliders();
  by("settings").open = matchMedia("(min-width: 1000px)").matches;
  by("person").addEventListener("submit", (event) => { event.preventDefault(); become(by("user").value.trim() || visitor()); });
  by("visitor").addEventListener("click", () => become(visitor()));
  by("search").addEventListener("submit", (event) => event.preventDefault());
  by("query").addEventListener("input", later(200, searched));
  by("search").addEventListener("submit", searched);
  by("again").addEventListener("click", () => { state.seed = chance() % 2 ** 31; attempt(show); });
  by("undo").addEventListener("click", () => attempt(undo));
  by("refresh").addEventListener("click", () => attempt(showOperator));
  addEventListener("hashchange", () => { view(); by("main").focus(); });
  view();
  await attempt(async () => { where = filters((await call("/v1/facets")).facets, () => attempt(show)); });
  const asked = new URLSearchParams(location.search).get("user");
  await become(asked || localStorage.getItem(USER) || visitor());
}

async function searched() {
  state.query = by("query").value.trim();
  await attempt(show);
  const count = by("panel-search").querySelectorAll(".item").length;
  if (state.query) say(`${count} found for ${state.query}.`);
}

start();
