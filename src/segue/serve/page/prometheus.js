// Parse the text format of Prometheus.

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parseMetrics(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(LABEL)].map(([, label, value]) => [label, value]));
    if (!samples.has(match[1])) samples.set(match[1], []);
    samples.get(match[1]).push({ labels, value: Number(match[3].replace("+Inf", "Infinity")) });
  }
  const select = (name, filter = {}) => (samples.get(name) ?? []).filter((sample) =>
    Object.entries(filter).every(([label, value]) => sample.labels[label] === value));
  const labelValues = (name, label) => [...new Set(select(name).map((sample) => sample.labels[label]))];
  return { select, labelValues, histogram: (name, filter) => summarize(select, name, filter) };
}

// Quantiles are interpolated linearly within a bucket, as in Prometheus.
function summarize(select, name, filter) {
  const total = (suffix) => select(name + suffix, filter).reduce((sum, sample) => sum + sample.value, 0);
  const byBound = new Map();
  for (const sample of select(`${name}_bucket`, filter)) {
    const bound = Number(sample.labels.le.replace("+Inf", "Infinity"));
    byBound.set(bound, (byBound.get(bound) ?? 0) + sample.value);
  }
  const buckets = [...byBound].sort(([first], [second]) => first - second);
  const count = total("_count");
  const quantile = (share) => {
    let [lower, before] = [0, 0];
    for (const [upper, cumulative] of count ? buckets : []) {
      if (cumulative >= share * count) {
        return Number.isFinite(upper) ? lower + (upper - lower) * (share * count - before) / (cumulative - before || 1) : lower;
      }
      [lower, before] = [upper, cumulative];
    }
    return null;
  };
  return { count, mean: count ? total("_sum") / count : null, quantile };
}
