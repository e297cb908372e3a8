// The text of /metrics, read into figures.

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function read(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const parts = LINE.exec(line);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(LABEL)].map((one) => [one[1], one[2]]));
    if (!found.has(parts[1])) found.set(parts[1], []);
    found.get(parts[1]).push({ labels, value: Number(parts[3].replace("+Inf", "Infinity")) });
  }
  const rows = (name, wanted = {}) => (found.get(name) ?? []).filter((one) =>
    Object.entries(wanted).every(([label, value]) => one.labels[label] === value));
  const values = (name, label) => [...new Set(rows(name).map((one) => one.labels[label]))];
  return { rows, values, summed: (name, wanted) => histogram(rows, name, wanted) };
}

// Quantiles between the bounds of a histogram's buckets are taken on a straight line, as Prometheus does.
function histogram(rows, name, wanted) {
  const total = (suffix) => rows(name + suffix, wanted).reduce((sum, one) => sum + one.value, 0);
  const bounds = new Map();
  for (const one of rows(`${name}_bucket`, wanted)) {
    const bound = Number(one.labels.le.replace("+Inf", "Infinity"));
    bounds.set(bound, (bounds.get(bound) ?? 0) + one.value);
  }
  const buckets = [...bounds].sort((one, other) => one[0] - other[0]);
  const count = total("_count");
  const quantile = (share) => {
    let [below, before] = [0, 0];
    for (const [bound, held] of count ? buckets : []) {
      if (held >= share * count) {
        return Number.isFinite(bound) ? below + (bound - below) * (share * count - before) / (held - before || 1) : below;
      }
      [below, before] = [bound, held];
    }
    return null;
  };
  return { count, mean: count ? total("_sum") / count : null, quantile };
}
