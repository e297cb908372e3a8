// Requests to the service: the API key if it requires one, and errors as sentences.

import { byId } from "./element.js";

const KEY = "segue-key";
let keyPrompt = null;

export class ServiceError extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

function promptForKey(problem) {
  keyPrompt ??= new Promise((resolve) => {
    const dialog = byId("key");
    byId("key-note").textContent = `${problem} The key is stored in this tab only. Liking items requires the write scope.`;
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, byId("key-text").value.trim());
      byId("key-text").value = "";
      keyPrompt = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return keyPrompt;
}

export async function call(path, { method = "GET", body = null, text = false } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== null) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, cache: "no-store", body: body === null ? null : JSON.stringify(body) });
  } catch {
    throw new ServiceError(0, "The service cannot be reached. Try again in a moment.");
  }
  if (response.ok) return text ? response.text() : response.json();
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) {
    await promptForKey(key ? "This key is unknown." : "");
    return call(path, { method, body, text });
  }
  throw new ServiceError(response.status, problem.detail ?? `The service responded with status ${response.status}.`);
}

export function queryString(parameters) {
  const search = new URLSearchParams();
  for (const [name, values] of Object.entries(parameters)) {
    for (const value of [values].flat()) if (value !== null && value !== undefined) search.append(name, value);
  }
  return search.toString();
}

// Routes accept slashes in ids.
export const idPath = (id) => encodeURIComponent(String(id)).replaceAll("%2F", "/");
