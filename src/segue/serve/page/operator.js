// The operator's view: the version that answers, how it measures, and what the service does.

import { call } from "./api.js";
import { by, listed, make, table } from "./element.js";
import { read } from "./prometheus.js";

const number = (value, digits = 0) => Number(value).toLocaleString("en", { maximumFractionDigits: digits });
const time = (seconds) => (seconds === null ? "–" : seconds < 1 ? `${number(1000 * seconds, 2)} ms` : `${number(seconds, 2)} s`);
const size = (bytes) => (bytes < 1e6 ? `${number(bytes / 1e3)} kB` : `${number(bytes / 1e6, 1)} MB`);
const empty = (text) => make("p", { className: "note" }, text);

export async function showOperator() {
  const [model, text, health] = await Promise.all([
    call("/v1/model"), call("/metrics", { text: true }), call("/readyz"),
  ]);
  const figures = read(text);
  by("version").textContent = `model ${model.model_version}`;
  tiles(model, figures, health);
  by("model").replaceChildren(listed([
    ["version", make("code", {}, model.model_version)], ["model", make("code", {}, model.model)],
    ["index", make("code", {}, model.index_chosen)], ["profile", make("code", {}, model.profile)],
    ["metadata", model.columns.join(", ") || "none"], ["refused", model.refused_version ?? "none"],
  ]));
  const metrics = Object.entries(model.metrics);
  by("metrics").replaceChildren(metrics.length
    ? table("Evaluation", ["metric", "value"], metrics.map(([name, value]) => [name, Number(value).toFixed(4)]))
    : empty("The model was saved without an evaluation; segue fit --test makes one."));
  index(model);
  requests(figures);
  work(figures);
}

function tiles(model, figures, health) {
  const all = figures.summed("segue_request_seconds");
  const failed = figures.rows("segue_requests_total").filter((one) => one.labels.status >= "500");
  const told = [
    ["status", health.status], ["items", number(model.items)], ["users", number(model.users)],
    ["interactions", number(model.interactions)], ["dimensions", number(model.dim)],
    ["people with events", number(model.people_with_events)], ["requests", number(all.count)],
    ["median request", time(all.quantile(0.5))], ["failed (5xx)", number(failed.reduce((sum, one) => sum + one.value, 0))],
  ];
  by("tiles").replaceChildren(...told.map(([name, value]) =>
    make("div", { className: "tile" }, make("b", {}, value), make("span", {}, name))));
}

function index({ index_measured: measured, index: asked, index_chosen: chosen }) {
  if (!measured.length) {
    by("index").replaceChildren(listed([["index", make("code", {}, chosen)]]),
      empty(`Nothing was measured, because the model was fit with ${asked}. segue bench MODEL compares all indexes.`));
    return;
  }
  const rows = measured.map((one) => [
    make("code", {}, one.settings), number(one.items), one.effort === null ? "–" : number(one.effort),
    one.recall.toFixed(3), number(one.us, 1), one.build_s === null ? "–" : time(one.build_s), size(one.bytes),
    one.settings === chosen ? "chosen" : one.reached ? "" : "too little",
  ]);
  by("index").replaceChildren(
    table("Indexes measured", ["index", "items", "effort", "recall", "µs a query", "build", "size", ""], rows),
    ...(measured.length > 1 ? [plot(measured, chosen)] : [empty("Exact search was fast enough, so no other index was tried.")]));
}

// Recall upwards, microseconds a query to the right on a logarithmic axis.
function plot(measured, chosen) {
  const [width, height, edge] = [620, 240, 46];
  const logs = measured.map((one) => Math.log10(one.us));
  const [least, most] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs) + 1e-9)];
  const floor = Math.min(0.9, ...measured.map((one) => one.recall));
  const x = (us) => edge + (Math.log10(us) - least) / (most - least || 1) * (width - 2 * edge);
  const y = (recall) => height - edge - (recall - floor) / (1 - floor) * (height - 1.6 * edge);
  const parts = [draw("title", {}, "Recall and time of the indexes that were measured")];
  for (let power = least; power <= most; power++) {
    parts.push(draw("line", { class: "axis", x1: x(10 ** power), x2: x(10 ** power), y1: y(1), y2: y(floor) }),
      draw("text", { x: x(10 ** power), y: height - edge + 18, "text-anchor": "middle" }, `${number(10 ** power, 2)} µs`));
  }
  for (const recall of [floor, 1]) {
    parts.push(draw("line", { class: "axis", x1: edge, x2: width - edge, y1: y(recall), y2: y(recall) }),
      draw("text", { x: edge - 6, y: y(recall) + 4, "text-anchor": "end" }, recall.toFixed(2)));
  }
  for (const one of measured) {
    parts.push(draw("circle", { class: one.settings === chosen ? "chosen" : "mark", cx: x(one.us), cy: y(one.recall), r: 6 }),
      draw("text", { class: "name", x: x(one.us) + 10, y: y(one.recall) - 8 }, one.index));
  }
  return draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img" }, ...parts);
}

function draw(tag, given, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function requests(figures) {
  const routes = figures.values("segue_request_seconds_count", "route");
  const rows = routes.map((route) => {
    const found = figures.summed("segue_request_seconds", { route });
    return [make("code", {}, route), number(found.count), time(found.mean), time(found.quantile(0.5)), time(found.quantile(0.99))];
  }).sort((one, other) => one[0].textContent.localeCompare(other[0].textContent));
  by("routes").replaceChildren(rows.length
    ? table("Requests", ["route", "requests", "mean", "median", "99%"], rows) : empty("No requests yet."));
}

function counted(figures, name, label) {
  return figures.rows(name).map((one) => [one.labels[label], number(one.value)]);
}

function work(figures) {
  const lists = counted(figures, "segue_lists_total", "source");
  by("lists").replaceChildren(lists.length ? table("Lists by source", ["source", "lists"], lists) : empty("No lists yet."));
  const [search, commit] = ["segue_search_seconds", "segue_commit_seconds"].map((name) => figures.summed(name));
  const examined = figures.rows("segue_search_examined_total").reduce((sum, one) => sum + one.value, 0);
  by("work").replaceChildren(table("Searches, events, versions", ["what", "figure"], [
    ["searches", number(search.count)], ["median search", time(search.quantile(0.5))], ["vectors scored", number(examined)],
    ["commits", number(commit.count)], ["median commit", time(commit.quantile(0.5))],
    ...counted(figures, "segue_events_total", "outcome").map(([name, value]) => [`events, ${name}`, value]),
    ...counted(figures, "segue_swaps_total", "outcome").map(([name, value]) => [`versions, ${name}`, value]),
  ]));
}
