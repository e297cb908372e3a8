// The operator view: the model version, its evaluation and index, and the metrics of the service.

import { call } from "./api.js";
import { byId, create, createDescriptions, createTable } from "./element.js";
import { parseMetrics } from "./prometheus.js";

const number = (value, digits = 0) => Number(value).toLocaleString("en", { maximumFractionDigits: digits });
const time = (seconds) => (seconds === null ? "–" : seconds < 1 ? `${number(1000 * seconds, 2)} ms` : `${number(seconds, 2)} s`);
const size = (bytes) => (bytes < 1e6 ? `${number(bytes / 1e3)} kB` : `${number(bytes / 1e6, 1)} MB`);
const note = (text) => create("p", { className: "note" }, text);

export async function showOperator() {
  const [model, text, health] = await Promise.all([
    call("/v1/model"), call("/metrics", { text: true }), call("/readyz"),
  ]);
  const metrics = parseMetrics(text);
  byId("version").textContent = `model ${model.model_version}`;
  showTiles(model, metrics, health);
  byId("model").replaceChildren(createDescriptions([
    ["version", create("code", {}, model.model_version)], ["model", create("code", {}, model.model)],
    ["index", create("code", {}, model.index_chosen)], ["profile", create("code", {}, model.profile)],
    ["metadata", model.columns.join(", ") || "none"], ["refused", model.refused_version ?? "none"],
  ]));
  const evaluation = Object.entries(model.metrics);
  byId("metrics").replaceChildren(evaluation.length
    ? createTable("Evaluation", ["metric", "value"], evaluation.map(([name, value]) => [name, Number(value).toFixed(4)]))
    : note("The model was saved without an evaluation; segue fit --test adds one."));
  showIndex(model);
  showRequests(metrics);
  showCounters(metrics);
}

function showTiles(model, metrics, health) {
  const all = metrics.histogram("segue_request_seconds");
  const failed = metrics.select("segue_requests_total").filter((sample) => sample.labels.status >= "500");
  const values = [
    ["status", health.status], ["items", number(model.items)], ["users", number(model.users)],
    ["interactions", number(model.interactions)], ["dimensions", number(model.dim)],
    ["users with events", number(model.users_with_events)], ["requests", number(all.count)],
    ["median request", time(all.quantile(0.5))], ["failed (5xx)", number(failed.reduce((sum, sample) => sum + sample.value, 0))],
  ];
  byId("tiles").replaceChildren(...values.map(([name, value]) =>
    create("div", { className: "tile" }, create("b", {}, value), create("span", {}, name))));
}

function showIndex({ index_measured: measured, index: settings, index_chosen: chosen }) {
  if (!measured.length) {
    byId("index").replaceChildren(createDescriptions([["index", create("code", {}, chosen)]]),
      note(`The model was fit with ${settings}, so no other index was measured. segue bench MODEL compares all indexes.`));
    return;
  }
  const rows = measured.map((row) => [
    create("code", {}, row.settings), number(row.items), row.effort === null ? "–" : number(row.effort),
    row.recall.toFixed(3), number(row.us, 1), row.build_s === null ? "–" : time(row.build_s), size(row.bytes),
    row.settings === chosen ? "chosen" : row.reached ? "" : "recall too low",
  ]);
  byId("index").replaceChildren(
    createTable("Indexes measured", ["index", "items", "effort", "recall", "µs per query", "build", "size", ""], rows),
    ...(measured.length > 1 ? [plot(measured, chosen)] : [note("Exact search was fast enough, so no other index was tried.")]));
}

// Plot recall over microseconds per query, on a logarithmic axis.
function plot(measured, chosen) {
  const [width, height, margin] = [620, 240, 46];
  const logs = measured.map((row) => Math.log10(row.us));
  const [minPower, maxPower] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs) + 1e-9)];
  const floor = Math.min(0.9, ...measured.map((row) => row.recall));
  const x = (us) => margin + (Math.log10(us) - minPower) / (maxPower - minPower || 1) * (width - 2 * margin);
  const y = (recall) => height - margin - (recall - floor) / (1 - floor) * (height - 1.6 * margin);
  const parts = [createSvg("title", {}, "Recall and time of the measured indexes")];
  for (let power = minPower; power <= maxPower; power++) {
    parts.push(createSvg("line", { class: "axis", x1: x(10 ** power), x2: x(10 ** power), y1: y(1), y2: y(floor) }),
      createSvg("text", { x: x(10 ** power), y: height - margin + 18, "text-anchor": "middle" }, `${number(10 ** power, 2)} µs`));
  }
  for (const recall of [floor, 1]) {
    parts.push(createSvg("line", { class: "axis", x1: margin, x2: width - margin, y1: y(recall), y2: y(recall) }),
      createSvg("text", { x: margin - 6, y: y(recall) + 4, "text-anchor": "end" }, recall.toFixed(2)));
  }
  for (const row of measured) {
    parts.push(createSvg("circle", { class: row.settings === chosen ? "chosen" : "mark", cx: x(row.us), cy: y(row.recall), r: 6 }),
      createSvg("text", { class: "name", x: x(row.us) + 10, y: y(row.recall) - 8 }, row.index));
  }
  return createSvg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img" }, ...parts);
}

function createSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function showRequests(metrics) {
  const routes = metrics.labelValues("segue_request_seconds_count", "route");
  const rows = routes.map((route) => {
    const latency = metrics.histogram("segue_request_seconds", { route });
    return [create("code", {}, route), number(latency.count), time(latency.mean), time(latency.quantile(0.5)), time(latency.quantile(0.99))];
  }).sort(([first], [second]) => first.textContent.localeCompare(second.textContent));
  byId("routes").replaceChildren(rows.length
    ? createTable("Requests", ["route", "requests", "mean", "median", "99%"], rows) : note("No requests yet."));
}

function countBy(metrics, name, label) {
  return metrics.select(name).map((sample) => [sample.labels[label], number(sample.value)]);
}

function showCounters(metrics) {
  const lists = countBy(metrics, "segue_lists_total", "source");
  byId("lists").replaceChildren(lists.length ? createTable("Lists by source", ["source", "lists"], lists) : note("No lists yet."));
  const [search, commit] = ["segue_search_seconds", "segue_commit_seconds"].map((name) => metrics.histogram(name));
  const examined = metrics.select("segue_search_examined_total").reduce((sum, sample) => sum + sample.value, 0);
  byId("work").replaceChildren(createTable("Searches, events, versions", ["metric", "value"], [
    ["searches", number(search.count)], ["median search", time(search.quantile(0.5))], ["vectors scored", number(examined)],
    ["commits", number(commit.count)], ["median commit", time(commit.quantile(0.5))],
    ...countBy(metrics, "segue_events_total", "outcome").map(([name, value]) => [`events, ${name}`, value]),
    ...countBy(metrics, "segue_swaps_total", "outcome").map(([name, value]) => [`versions, ${name}`, value]),
  ]));
}
