// Two trees side by side, in a narrow window one below the other: of a failed assertion, or of two runs.

const SIGNS = { same: "", missing: "missing", extra: "not expected", changed: "differs", moved: "moved" };

/** The pairs of both sides, which are aligned: where one has no line, it is blank. */
function pairsOf({ expected, captured }) {
  const blank = { text: "", state: "same" };
  const length = Math.max(expected.length, captured.length);
  return Array.from({ length }, (_, at) => [expected[at] ?? blank, captured[at] ?? blank]);
}

/** The words of a line, those marked that the other line does not have. */
function wordsOf(text, other, mark) {
  const words = text.match(/\s+|"(?:[^"\\]|\\.)*"|[^\s"]+/g) ?? [];
  const others = new Set(other.match(/\s+|"(?:[^"\\]|\\.)*"|[^\s"]+/g) ?? []);
  return words.map((word) => (!word.trim() || others.has(word) ? word : el(mark, {}, word)));
}

function sideOf(row, other, mark, place, opened) {
  if (!row.text) return el("td", { class: "blank" });
  const state = row.state in SIGNS ? row.state : "same";
  const differs = state === "changed" && other.text;
  const indent = row.text.length - row.text.trimStart().length;
  const content = differs ? wordsOf(row.text.trim(), other.text.trim(), mark) : row.text.trim();
  const target = row.observation && opened.byId.has(row.observation);
  const text = el("code", {}, target ? link({ ...place, obs: row.observation }, content) : content);
  text.style.marginLeft = `${Math.min(indent, 40)}ch`;
  return el("td", { class: state }, row.number ? el("b", { class: "number" }, `${row.number} `) : null, text, SIGNS[state] ? span("state", SIGNS[state]) : null);
}

/** The table of a difference, and what leads to the next one. */
function differenceOf(difference, opened, place, heads = ["Expected", "Captured"], title = difference.sentence) {
  const pairs = pairsOf(difference);
  const isChange = ([one, other]) => one.state !== "same" || other.state !== "same";
  const near = new Set();
  pairs.forEach((pair, at) => { if (isChange(pair)) for (let close = at - 3; close <= at + 3; close++) near.add(close); });
  const body = el("tbody");
  let hidden = [];
  const rowOf = ([one, other]) => el("tr", isChange([one, other]) ? { class: "change", tabindex: "-1" } : {}, sideOf(one, other, "del", place, opened), sideOf(other, one, "ins", place, opened));
  const flush = () => {
    if (!hidden.length) return;
    const rows = hidden;
    hidden = [];
    if (rows.length < 4) { body.append(...rows.map(rowOf)); return; }
    const fold = el("tr", {}, el("td", { colspan: "2", class: "fold" }, button(`${rows.length} equal lines`, () => fold.replaceWith(...rows.map(rowOf)))));
    body.append(fold);
  };
  let shown = 0;
  pairs.forEach((pair, at) => {
    if (shown > 2000) return;
    if (!near.has(at)) { hidden.push(pair); return; }
    flush();
    body.append(rowOf(pair));
    shown++;
  });
  flush();
  const changes = pairs.filter(isChange).length;
  return el("section", { class: "difference", "aria-label": "Difference" },
    heading(title || count(changes, "difference")),
    difference.sentences.length ? el("ul", {}, difference.sentences.slice(0, 100).map((sentence) => el("li", {}, sentence))) : null,
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": heads.join(" and ") }, el("table", {}, el("thead", {}, el("tr", { class: "change" }, heads.map((head) => el("th", { scope: "col" }, head)))), body)),
    shown > 2000 ? par("note", "The table ends after 2,000 lines near a difference.") : null);
}

/** What has changed since an earlier run. */
function comparisonOf(opened, place) {
  const { comparison, exceeded = [], changes } = opened;
  const { before, after, difference } = comparison;
  const heads = [comparison.with || "earlier run", "this run"];
  const figures = { observations: figure, tokens: figure, cost: (value) => value, duration: secondsText, models: (value) => String(value ?? "").replaceAll(",", ", ") };
  const rows = Object.entries(figures).map(([name, write]) => [name, write(before[name]), write(after[name])]).filter(([, old, now]) => old || now);
  return el("section", { class: "comparison", "aria-label": "Comparison" },
    heading(`Changed since ${heads[0]}: ${changes.join("; ")}`),
    comparison.was ? par("note", `was ${comparison.was}`) : null,
    exceeded.map((sentence) => par("finding error", `Too much: ${sentence}`)),
    el("table", {}, el("thead", {}, el("tr", {}, ["", ...heads].map((head) => el(head ? "th" : "td", head ? { scope: "col" } : {}, head)))),
      el("tbody", {}, rows.map(([name, old, now]) => el("tr", { class: (name === "observations" ? old !== now : changes.some((one) => one.startsWith(name))) ? "degraded" : null }, el("th", { scope: "row" }, name), el("td", { class: "number" }, old || "none"), el("td", { class: "number" }, now || "none"))))),
    difference ? differenceOf(difference, opened, place, heads, `Trees: ${difference.sentence}`) : null);
}
