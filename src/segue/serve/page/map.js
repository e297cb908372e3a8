// The item map on a canvas: items on two principal axes, the user's events, and the path of their profile.

import { byId, itemName } from "./element.js";

const MARGIN = 22; // pixels around the items
const HIT_RADIUS = 18; // pixels between the pointer and an item
const FULL_CIRCLE = Math.PI * 2;

const canvas = byId("map");
const context = canvas.getContext("2d");
let items = [], recommended = new Set(), events = [], path = [], selected = null, open = () => {};

export const itemCount = () => items.length;

export function setItems(newItems, onOpen) {
  items = newItems;
  open = onOpen;
  selected = null;
  draw();
}

export function setUser(user, recommendations) {
  events = user.events.filter((event) => event.position && event.weight);
  path = user.path.filter((position) => position !== null);
  recommended = new Set(recommendations.map((item) => String(item.item_id)));
  draw();
}

// Return the function from map positions to pixels; each axis fills its side.
function createScale() {
  const { width, height } = canvas.getBoundingClientRect();
  const xs = items.map((item) => item.x).concat(path.map(([x]) => x), events.map((event) => event.position[0]));
  const ys = items.map((item) => item.y).concat(path.map(([, y]) => y), events.map((event) => event.position[1]));
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scaleX = (width - 2 * MARGIN) / (right - left || 1);
  const scaleY = (height - 2 * MARGIN) / (top - bottom || 1);
  return ([x, y]) => [MARGIN + (x - left) * scaleX, height - MARGIN - (y - bottom) * scaleY];
}

function createPalette() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function drawDot([x, y], radius, fill, outline = null) {
  context.beginPath();
  context.arc(x, y, radius, 0, FULL_CIRCLE);
  context.fillStyle = fill;
  context.fill();
  if (outline === null) return;
  context.lineWidth = 2;
  context.strokeStyle = outline;
  context.stroke();
}

export function draw() {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !items.length) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const toPixels = createScale(), color = createPalette();
  const maxRoot = Math.sqrt(Math.max(...items.map((item) => item.users), 1));
  context.globalAlpha = 0.55;
  for (const item of items) drawDot(toPixels([item.x, item.y]), 1.2 + 3.2 * Math.sqrt(item.users) / maxRoot, color("dot"));
  context.globalAlpha = 1;
  for (const item of items) {
    if (recommended.has(String(item.item_id))) drawDot(toPixels([item.x, item.y]), 5, color("accent"), color("card"));
  }
  for (const event of events) drawDot(toPixels(event.position), 5, color(event.weight > 0 ? "good" : "bad"), color("card"));
  drawPath(path.map(toPixels), color);
  if (selected !== null) drawDot(toPixels([selected.x, selected.y]), 7, "transparent", color("ink"));
}

function drawPath(points, color) {
  if (!points.length) return;
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.lineWidth = 2.5;
  context.lineJoin = "round";
  context.strokeStyle = color("warm");
  context.stroke();
  for (const point of points.slice(0, -1)) drawDot(point, 2.5, color("warm"));
  drawDot(points.at(-1), 7, color("warm"), color("card"));
}

function select(item) {
  selected = item;
  byId("map-hover").textContent = item === null ? "" : itemName(item);
  canvas.style.cursor = item === null ? "crosshair" : "pointer";
  draw();
}

function itemAt(event) {
  const { left, top } = canvas.getBoundingClientRect();
  const toPixels = createScale();
  let nearest = null, minDistance = HIT_RADIUS;
  for (const item of items) {
    const [x, y] = toPixels([item.x, item.y]);
    const distance = Math.hypot(x - event.clientX + left, y - event.clientY + top);
    if (distance < minDistance) [nearest, minDistance] = [item, distance];
  }
  return nearest;
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Return the nearest item within 45 degrees of a direction; without a selection, the first item.
function nextItem([dx, dy]) {
  if (selected === null) return items[0] ?? null;
  const toPixels = createScale();
  const [x, y] = toPixels([selected.x, selected.y]);
  let nearest = selected, minDistance = Infinity;
  for (const item of items) {
    const [itemX, itemY] = toPixels([item.x, item.y]);
    const along = (itemX - x) * dx + (itemY - y) * dy;
    const aside = Math.abs((itemX - x) * dy) + Math.abs((itemY - y) * dx);
    const distance = Math.hypot(along, aside);
    if (along > 0 && aside <= along && distance > 4 && distance < minDistance) [nearest, minDistance] = [item, distance];
  }
  return nearest;
}

canvas.addEventListener("pointermove", (event) => {
  const item = itemAt(event);
  if (item !== selected) select(item);
});
canvas.addEventListener("pointerleave", () => select(null));
canvas.addEventListener("click", (event) => {
  const item = itemAt(event);
  if (item) open(item);
});
canvas.addEventListener("keydown", (event) => {
  if (event.key in DIRECTIONS) select(nextItem(DIRECTIONS[event.key]));
  else if (event.key === "Enter" && selected) open(selected);
  else return;
  event.preventDefault();
});
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
