// The map: items on their two principal axes, the picks, and the person's path, on a canvas.

import { by, nameOf } from "./element.js";

const EDGE = 22; // pixels round the items
const NEAR = 18; // pixels within which a pointer means an item
const TURN = Math.PI * 2;

const canvas = by("map");
const pen = canvas.getContext("2d");
let items = [], best = new Set(), events = [], path = [], chosen = null, open = () => {};

export const size = () => items.length;

export function setItems(found, opened) {
  items = found;
  open = opened;
  chosen = null;
  draw();
}

export function setPerson(person, recommended) {
  events = person.events.filter((one) => one.place && one.weight);
  path = person.path.filter((one) => one !== null);
  best = new Set(recommended.map((one) => String(one.item_id)));
  draw();
}

// From places of the service to pixels: each axis fills its side.
function scale() {
  const { width, height } = canvas.getBoundingClientRect();
  const xs = items.map((one) => one.x).concat(path.map((one) => one[0]), events.map((one) => one.place[0]));
  const ys = items.map((one) => one.y).concat(path.map((one) => one[1]), events.map((one) => one.place[1]));
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const x = (width - 2 * EDGE) / (right - left || 1);
  const y = (height - 2 * EDGE) / (high - low || 1);
  return ([a, b]) => [EDGE + (a - left) * x, height - EDGE - (b - low) * y];
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function dot([x, y], radius, fill, ring = null) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, TURN);
  pen.fillStyle = fill;
  pen.fill();
  if (ring === null) return;
  pen.lineWidth = 2;
  pen.strokeStyle = ring;
  pen.stroke();
}

export function draw() {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !items.length) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const at = scale(), colour = colours();
  const most = Math.sqrt(Math.max(...items.map((one) => one.users), 1));
  pen.globalAlpha = 0.55;
  for (const one of items) dot(at([one.x, one.y]), 1.2 + 3.2 * Math.sqrt(one.users) / most, colour("dot"));
  pen.globalAlpha = 1;
  for (const one of items) if (best.has(String(one.item_id))) dot(at([one.x, one.y]), 5, colour("accent"), colour("card"));
  for (const one of events) dot(at(one.place), 5, colour(one.weight > 0 ? "good" : "bad"), colour("card"));
  walk(path.map(at), colour);
  if (chosen !== null) dot(at([chosen.x, chosen.y]), 7, "transparent", colour("ink"));
}

function walk(places, colour) {
  if (!places.length) return;
  pen.beginPath();
  for (const [x, y] of places) pen.lineTo(x, y);
  pen.lineWidth = 2.5;
  pen.lineJoin = "round";
  pen.strokeStyle = colour("warm");
  pen.stroke();
  for (const one of places.slice(0, -1)) dot(one, 2.5, colour("warm"));
  dot(places.at(-1), 7, colour("warm"), colour("card"));
}

function choose(item) {
  chosen = item;
  by("map-hover").textContent = item === null ? "" : nameOf(item);
  canvas.style.cursor = item === null ? "crosshair" : "pointer";
  draw();
}

function under(event) {
  const { left, top } = canvas.getBoundingClientRect();
  const at = scale();
  let found = null, least = NEAR;
  for (const one of items) {
    const [x, y] = at([one.x, one.y]);
    const far = Math.hypot(x - event.clientX + left, y - event.clientY + top);
    if (far < least) [found, least] = [one, far];
  }
  return found;
}

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The nearest item within 45 degrees of an arrow's direction, and the first of all to begin with.
function step([across, down]) {
  if (chosen === null) return items[0] ?? null;
  const at = scale();
  const [x, y] = at([chosen.x, chosen.y]);
  let found = chosen, least = Infinity;
  for (const one of items) {
    const [a, b] = at([one.x, one.y]);
    const along = (a - x) * across + (b - y) * down;
    const aside = Math.abs((a - x) * down) + Math.abs((b - y) * across);
    const far = Math.hypot(along, aside);
    if (along > 0 && aside <= along && far > 4 && far < least) [found, least] = [one, far];
  }
  return found;
}

canvas.addEventListener("pointermove", (event) => {
  const found = under(event);
  if (found !== chosen) choose(found);
});
canvas.addEventListener("pointerleave", () => choose(null));
canvas.addEventListener("click", (event) => {
  const found = under(event);
  if (found) open(found);
});
canvas.addEventListener("keydown", (event) => {
  if (event.key in WAYS) choose(step(WAYS[event.key]));
  else if (event.key === "Enter" && chosen) open(chosen);
  else return;
  event.preventDefault();
});
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
