// Requests to the service: the key where it wants one, and errors as sentences.

import { by } from "./element.js";

const KEY = "segue-key";
let asking = null;

export class ServiceError extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

function askForKey(problem) {
  asking ??= new Promise((resolve) => {
    const dialog = by("key");
    by("key-note").textContent = `${problem} It is kept in this tab only. To like items it must be one that may write.`;
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, by("key-text").value.trim());
      by("key-text").value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function call(path, { method = "GET", body = null, text = false, again = true } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== null) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, cache: "no-store", body: body === null ? null : JSON.stringify(body) });
  } catch {
    throw new ServiceError(0, "The service cannot be reached. Try again in a moment.");
  }
  if (answer.ok) return text ? answer.text() : answer.json();
  const problem = await answer.json().catch(() => ({}));
  const detail = problem.detail ?? `The service answered ${answer.status}.`;
  if (answer.status === 401 && again) {
    await askForKey(key ? "The key is not known here." : "");
    return call(path, { method, body, text, again: true });
  }
  throw new ServiceError(answer.status, detail);
}

export function query(values) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined) made.append(name, one);
  }
  return made.toString();
}

// Slashes are part of an id: the routes take them whole.
export const idPath = (id) => encodeURIComponent(String(id)).replaceAll("%2F", "/");
