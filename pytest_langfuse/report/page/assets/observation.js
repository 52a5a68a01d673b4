// Right: one observation.

/** A value below its title, and a button that copies it. */
function section(title, value, make = valueOf) {
  if (!isSet(value)) return null;
  const copied = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return el("section", {}, div("bar", heading(title), copyButton("Copy", () => copied)), make(value));
}

/** What Langfuse stores of a trace itself. */
function storedOf({ input, output, metadata }) {
  const sections = [section("Input", input), section("Output", output), section("Metadata", metadata, jsonOf)].filter(Boolean);
  return sections.length ? folded("The trace's own input, output and metadata", sections) : null;
}

/** Show an observation; `opened` is its test. */
async function observationOf(opened, row) {
  const detail = await detailOf(row);
  const findings = opened.findings.filter((finding) => finding.id === row.id);
  const raw = { ...detail.attributes, ...(detail.scope ? { scope: detail.scope } : {}), ...detail.resource };
  const scores = opened.scores.filter((score) => isOf(score, row));
  return [
    div("bar", badge(row.type), el("h2", { tabindex: "-1" }, row.name)),
    par("note", [row.type, row.model, row.duration === null ? "never ended" : time(row.duration), row.level === "DEFAULT" ? "" : row.level].filter(Boolean).join(" · ")),
    div("bar",
      copyButton("Copy as literal", () => literalOf(row, opened.scores)),
      copyButton("Copy link", () => location.href)),
    row.reason ? par("warning", `Not in Langfuse: ${row.reason}${detail.detail ? `, ${detail.detail}` : ""}`) : null,
    detail.status ? el("p", { class: row.level === "ERROR" ? "error-text" : "" }, detail.status) : null,
    findings.map(findingOf),
    section("Input", detail.input),
    section("Output", detail.output),
    section("Metadata", detail.metadata, jsonOf),
    facts([
      ["Usage", amounts(detail.usage)],
      ["Cost", amounts(detail.cost, (value) => money(value)) + (detail.cost_estimated ? " (estimated)" : "")],
      ["Model", detail.model],
      ["Parameters", isSet(detail.model_parameters) ? JSON.stringify(detail.model_parameters) : ""],
      ["Prompt", detail.prompt],
      ["Trace", detail.trace_name],
      ["User", detail.user],
      ["Session", detail.session],
      ["Tags", [detail.tags ?? []].flat().join(", ")],
      ["Environment", detail.environment],
      ["Version", detail.version],
      ["Release", detail.release],
      ["Started", `${time(row.start - opened.from)} after the first, ${new Date(row.start / 1000).toISOString()}`],
      ["Process", row.process],
      ["Thread", row.thread],
      ["Place", detail.place],
    ]),
    scores.length ? el("section", {}, heading("Scores"), scoresOf(scores)) : null,
    section("Events", detail.events, jsonOf),
    isSet(raw) ? folded(`Raw attributes (${Object.keys(raw).length})`, facts(Object.entries(raw).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]))) : null,
    par("note ids", `trace ${row.trace}`, el("br"), `observation ${row.id}`),
  ];
}

/** Whether a score is of an observation, or of its trace, which the roots stand for. */
const isOf = (score, row) => score.trace === row.trace && (score.observation ? score.observation === row.id : !row.above);

/** What a score is of that is no trace and no observation. */
function targetOf({ trace, session, dataset_run: run }) {
  return trace ? "" : session ? ` (of session ${session})` : run ? ` (of dataset run ${run})` : " (the file does not say of what)";
}

const scoresOf = (scores) => facts(scores.map((score) => [score.name, [figure(score.value) || String(score.value), score.comment].filter(Boolean).join(": ") + targetOf(score)]));

function amounts(values, write = figure) {
  return isPlain(values) ? Object.entries(values).map(([key, value]) => `${key} ${typeof value === "number" ? write(value) : value}`).join(", ") : "";
}

function facts(entries) {
  const shown = entries.filter(([, text]) => text);
  return shown.length ? el("dl", {}, shown.map(([name, text]) => div("", el("dt", {}, name), el("dd", {}, String(text))))) : null;
}

function findingOf(finding) {
  const place = finding.file ? `${finding.file}:${finding.line}` : "";
  const page = $(`rule-${finding.code}`)?.lastElementChild.textContent;
  return div(`finding ${finding.severity}`,
    el("b", {}, `${finding.code} ${finding.rule ?? ""}`), finding.known ? " (in the baseline)" : "",
    par("", finding.text), finding.fix ? par("", `Fix: ${finding.fix}`) : null,
    par("note", [finding.severity, place].filter(Boolean).join(" · ")),
    page ? folded(`What is ${finding.code}?`, el("pre", { class: "text" }, page)) : null);
}

const LETTERS = { span: "S", generation: "G", event: "E", retriever: "R", tool: "T", agent: "A", chain: "C", embedding: "M", evaluator: "V", guardrail: "D" };

/** Give an element the colour of a type of observation. */
function coloured(element, type) {
  element.style.setProperty("--kind", `var(--${type in LETTERS ? type : "span"})`);
  return element;
}

/** The sign of a type; the type stands beside it in words for those who listen. */
function badge(type) {
  return coloured(el("span", { class: "badge", title: type }, el("span", { "aria-hidden": "true" }, LETTERS[type] ?? "S"), span("away", `${type} `)), type);
}
