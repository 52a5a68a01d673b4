// A test in an outage: the fault, the application, requests, breakers and counts on one axis, and the health at the end.

/** Pieces in as many lanes as it takes, up to a limit, so that none covers another one. */
function stacked(pieces, most = 5) {
  const lanes = [];
  for (const one of pieces.sort((first, second) => first.start - second.start)) {
    const free = lanes.find((lane) => lane.at(-1).end <= one.start) ?? (lanes.length < most ? null : lanes.at(-1));
    if (free) free.push(one);
    else lanes.push([one]);
  }
  return lanes;
}

/** States that follow one another: each lasts until the next one, the last one to the end. */
function following(changes, from, to, text, kind) {
  return changes.map((one, at) => ({ start: Math.max(from, one.at), end: changes[at + 1]?.at ?? to, text: text(one), kind: kind(one) }));
}

function outageOf(opened) {
  const { outage, health, rows } = opened;
  const listOf = (name, when = "at") => (Array.isArray(outage?.[name]) ? outage[name].filter((one) => typeof one?.[when] === "number") : []);
  const faults = [outage?.faults ?? opened.fault].flat().join(", ");
  const spans = rows.length ? [{ start: opened.from, end: opened.to, text: count(rows.length, "observation"), kind: "app" }] : [];
  const asked = listOf("requests", "start").slice(0, 500);
  const waits = (one) => typeof one.duration !== "number";
  const ends = [...spans.map((one) => one.end), ...asked.map((one) => one.start + (one.duration ?? 0) * 1e6)];
  const changes = listOf("breaker");
  const counts = listOf("health");
  const from = Math.min(outage?.begun ?? Infinity, ...[...spans, ...asked].map((one) => one.start), ...[...changes, ...counts].map((one) => one.at));
  const to = Math.max(outage?.ended ?? 0, from + 1000, from + (opened.duration ?? 0) * 1e6, ...ends, ...[...changes, ...counts].map((one) => one.at));
  const requests = asked.map((one) => ({ start: one.start, end: waits(one) ? to : one.start + one.duration * 1e6, text: `${one.result}${waits(one) ? ", no answer" : ""} ${one.path}`, kind: /^2\d\d/.test(one.result) ? "good" : "bad" }));
  const states = (route) => {
    const own = changes.filter((one) => one.route === route);
    return following([{ at: from, state: own[0].before }, ...own], from, to, (one) => one.state, (one) => (one.state === "closed" ? "good" : "bad"));
  };
  const routes = [...new Set(changes.map((one) => one.route))];
  const lanes = [
    ["fault", outage ? [{ start: outage.begun ?? from, end: outage.ended ?? to, text: faults, kind: "fault" }] : []],
    ["application", spans],
    ...stacked(requests).map((pieces, at) => [at ? "" : "requests", pieces]),
    ...routes.map((route) => [routes.length > 1 ? `breaker ${route}` : "breaker", states(route)]),
    ["breaker", health && !routes.length ? [{ start: from, end: to, text: health.breaker, kind: health.breaker === "closed" ? "good" : "bad" }] : []],
    ["spans", following(counts, from, to, (one) => `${one.buffered} buffered, ${one.exported} exported, ${one.dropped} dropped`, (one) => (one.dropped ? "bad" : one.buffered ? "fault" : "good"))],
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
  const healthFacts = health ? facts(Object.entries(health).map(([key, value]) => [key.replaceAll("_", " "), isPlain(value) ? amounts(value) || "none" : key === "last_success" && value !== null ? `${secondsText(value)} before` : figure(value) || String(value ?? "")])) : null;
  if (!outage && !opened.fault && !opened.degraded) return folded("Health of tracing at the end", healthFacts);
  return el("section", { class: "outage", "aria-label": "Outage" },
    heading(`Outage: ${faults}`),
    opened.degraded ? par("warning", `Degraded: ${opened.degraded}`) : opened.fault ? par("", opened.healthy_outcome ? "Not degraded." : "Not compared: there is no healthy run.") : null,
    lanes.length ? div("lanes", el("div", { role: "list", "aria-label": "Timeline" }, lanes.map(lane)), div("lane", span("lane-name"), div("track ticks", ticks(0, to - from, 4)))) : null,
    opened.events ? folded("All events", el("ol", { class: "plain" }, opened.events.map(([at, text]) => el("li", {}, span("event-time", at), ` ${text}`)))) : null,
    div("columns", facts(outcome), healthFacts ? div("", heading("Health at the end"), healthFacts) : null));
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
