// A test in an outage: the fault, the application, the requests and the breaker on one axis, and the health at the end.

function outageOf(opened) {
  const { outage, health, rows } = opened;
  const piece = (start, end, text, kind) => ({ start, end, text, kind });
  const requests = (outage?.requests ?? []).slice(0, 500).map((one) =>
    piece(one.start, one.start + (one.duration ?? 0) * 1e6, `${one.path}: ${one.result}`, /^2\d\d/.test(one.result) ? "good" : "bad"));
  const observed = rows.length ? [piece(opened.from, opened.to, count(rows.length, "observation"), "app")] : [];
  const known = [...requests, ...observed];
  const from = Math.min(outage?.begun ?? Infinity, ...known.map((one) => one.start));
  const to = Math.max(outage?.ended ?? 0, from + 1000, from + (opened.duration ?? 0) * 1e6, ...known.map((one) => one.end));
  const lanes = [
    ["fault", outage ? [piece(outage.begun ?? from, outage.ended ?? to, (outage.faults ?? []).join(", "), "fault")] : []],
    ["application", observed],
    ["requests", requests],
    ["breaker", health ? [piece(to - (to - from) / 6, to, `${health.breaker} at the end`, health.breaker === "closed" ? "good" : "bad")] : []],
  ].filter(([, pieces]) => pieces.length && from < Infinity);
  const percent = (value) => `${Math.max(0, Math.min(100, (100 * (value - from)) / (to - from)))}%`;
  const lane = ([name, pieces]) => el("div", { class: "lane", role: "listitem" }, span("lane-name", name),
    div("track", pieces.map((one) => {
      const told = `${one.text}, from ${time(one.start - from)} to ${time(one.end - from)}`;
      const bar = el("span", { class: `piece ${one.kind}`, title: told }, el("span", { "aria-hidden": "true" }, one.text), span("away", told));
      bar.style.left = percent(one.start);
      bar.style.width = `max(3px, calc(${percent(one.end)} - ${percent(one.start)}))`;
      return bar;
    })));
  const outcome = [
    ["Outcome", opened.outcome + (opened.healthy_outcome ? ` (${opened.healthy_outcome} without the outage)` : "")],
    ["Time", secondsText(opened.duration) + (opened.healthy_duration ? ` (${secondsText(opened.healthy_duration)} without the outage)` : "")],
    ["Waited for Langfuse", opened.blocked_seconds ? secondsText(opened.blocked_seconds) : "no"],
    ["Where", opened.blocked],
    ["Requests", outage ? `${outage.attempts ?? 0} tried, ${outage.refused ?? 0} failed` : ""],
    ["Observations lost", String(opened.lost ?? 0)],
  ];
  const healthFacts = health ? facts(Object.entries(health).map(([key, value]) => [key.replaceAll("_", " "), isPlain(value) ? amounts(value) || "none" : figure(value) || String(value ?? "")])) : null;
  if (!outage && !opened.fault && !opened.degraded) return el("details", {}, el("summary", {}, "Health of tracing at the end"), healthFacts);
  return el("section", { class: "outage", "aria-label": "Outage" },
    el("h3", {}, `Outage: ${(outage?.faults ?? [opened.fault]).join(", ")}`),
    opened.degraded ? par("warning", `Degraded: ${opened.degraded}`) : par("", "Not degraded."),
    lanes.length ? div("lanes", el("div", { role: "list", "aria-label": "Timeline" }, lanes.map(lane)), div("lane", span("lane-name"), div("track ticks", ticks(0, to - from, 4)))) : null,
    div("columns", facts(outcome), healthFacts ? div("", el("h3", {}, "Health at the end"), healthFacts) : null));
}

/** The labels of a time axis of some parts. */
function ticks(from, to, parts) {
  return Array.from({ length: parts + 1 }, (_, at) => at / parts).map((part) => {
    const tick = span("tick", time(from + (to - from) * part));
    tick.style.left = `${part * 100}%`;
    tick.style.transform = `translateX(${part * -100}%)`;
    return tick;
  });
}
