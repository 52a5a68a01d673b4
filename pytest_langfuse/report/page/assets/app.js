// The page: what is open, keys, theme, print.

class Page {
  constructor() {
    this.main = $("test");
    this.side = $("side");
    this.tree = null;
    this.shown = "";
    this.title = document.title;
    document.body.classList.add("app");
    for (const id of ["tests", "tools", "side"]) $(id).hidden = false;
    on($("theme"), "click", () => this.theme());
    on($("help"), "click", () => $("keys").showModal());
    this.tests = new TestList((place) => this.go(place));
    on(window, "hashchange", () => this.route());
    on(document, "keydown", (event) => this.key(event));
    let folds = [];
    const open = (isOpen) => folds.forEach((fold) => { fold.open = isOpen; });
    on(window, "beforeprint", () => {
      // All but the pages of rules.
      folds = [...document.querySelectorAll("#overview details:not([id],[open]), .outage details:not([open]), .failure:not([open])")];
      open(true);
      this.tree?.expand(2000);
    });
    on(window, "afterprint", () => {
      open(false);
      this.tree?.collapse();
    });
    // As long as it is there, it says what has failed.
    $("loading").remove();
    this.route();
  }

  theme() {
    const root = document.documentElement;
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem("pytest-langfuse-theme", root.dataset.theme); } catch { /* a page that may keep nothing */ }
    document.querySelectorAll("canvas").forEach((canvas) => canvas.paint());
  }

  get place() {
    return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  }

  go(place) {
    location.hash = addressOf(place);
  }

  /** Show what the address names. */
  route() {
    return guarded(this.main, () => this.follow());
  }

  async follow() {
    const { test: name, fault, obs } = this.place;
    const key = JSON.stringify([name, fault]);
    if (key !== this.shown) {
      this.shown = key;
      this.tree = null;
      fill(this.side);
      this.side.classList.remove("open");
      $("overview").hidden = Boolean(name);
      this.main.hidden = !name;
      if (!name) {
        document.title = this.title;
      } else if (!(await this.showTest(name, fault, key))) return;
      $("main").scrollTop = 0;
    }
    if (!this.tree) return;
    const row = obs ? this.tree.opened.byId.get(obs) : null;
    if (obs && !row) announce(`The observation of the link is not in this ${index.noun}.`);
    if (row && this.tree.active !== row) this.tree.reveal(row, false);
    else if (!obs && this.tree.visible.length && !this.tree.active) this.tree.choose(0, false, false);
  }

  async showTest(name, fault, key) {
    const wanted = addressOf({ test: name, fault });
    const test = index.tests.find((one) => addressOf(one) === wanted) ?? index.tests.find((one) => one.test === name);
    if (!test) {
      fill(this.main, el("h2", {}, `There is no such ${index.noun} in this page`), par("", name), par("", link({}, "Overview")));
      return false;
    }
    const opened = await openTest(test.number);
    if (this.shown !== key) return false;
    this.tests.mark(test);
    const place = { test: test.test, fault: test.fault };
    const { file, name: short } = splitId(test.test);
    const orphans = opened.scores.filter(({ trace, observation }) => trace && !(observation ? opened.byKey.has(`${trace}/${observation}`) : opened.traceNumber.has(trace)));
    const wider = opened.scores.filter((score) => !score.trace);
    const loose = opened.findings.filter((finding) => !opened.byId.has(finding.id));
    this.tree = opened.rows.length ? new Tree(opened, (row, isAsked) => this.select(row, isAsked)) : null;
    const numbers = [secondsText(test.duration), typeof test.observations === "number" ? count(test.observations, "observation") : null, withUnit(test.tokens, "tokens"),
      money(test.cost, test.cost_estimated), (test.models ?? []).join(", "), test.unended ? `${test.unended} never ended` : null, test.lost ? `${test.lost} lost` : null];
    fill(this.main,
      div("bar", el("h2", { class: test.outcome }, span("outcome", MARKS[test.outcome] ?? "·", ` ${test.outcome}: `), short, test.fault ? span("tag", test.fault) : null), copyButton("Copy id", () => test.test)),
      par("note", [file, ...numbers].filter(Boolean).join(" · ")),
      test.message && (!test.isRed || !opened.failure) ? par(test.isRed ? "error-text" : null, test.message) : null,
      (opened.attempts ?? []).map((attempt, at) => this.attemptOf(attempt, at + 1)),
      opened.difference ? differenceOf(opened.difference, opened, place) : null,
      opened.failure ? this.failureOf(opened) : null,
      opened.comparison ? comparisonOf(opened, place) : null,
      opened.outage || opened.health || test.fault || test.degraded ? outageOf(opened) : null,
      opened.stored ? storedOf(opened.stored) : null,
      loose.map(findingOf),
      wider.length ? [heading("Scores of sessions and dataset runs"), scoresOf(wider)] : null,
      orphans.length ? [heading("Scores of what nothing made"), scoresOf(orphans)] : null,
      this.tree ? this.tree.element : par("", opened.missing ? `Not all is here: ${opened.missing}.` : `This ${index.noun} made no observations.`));
    this.tree?.show(this.tree.active);
    document.title = `${short} · ${this.title}`;
    return true;
  }

  attemptOf(attempt, number) {
    const facts = [secondsText(attempt.duration), attempt.observations ? count(attempt.observations, "observation") : null, withUnit(attempt.tokens, "tokens"), money(attempt.cost, attempt.cost_estimated)];
    return el("details", { class: "failure" }, el("summary", {}, `Attempt ${number}, after which it was run again: ${attempt.message ?? ""}`), par("note", facts.filter(Boolean).join(" · ")), textOf(attempt.failure ?? ""));
  }

  failureOf(opened) {
    const fold = el("details", { class: "failure" }, el("summary", {}, "What pytest shows"), textOf(opened.failure));
    fold.open = !opened.difference;
    return fold;
  }

  select(row, isAsked) {
    return guarded(this.side, () => this.open(row, isAsked));
  }

  async open(row, isAsked) {
    const { test, fault } = this.place;
    const wanted = (this.wanted = row);
    history.replaceState(null, "", `#${addressOf({ test, fault, obs: row.id })}`);
    const contents = await observationOf(this.tree.opened, row);
    if (this.wanted !== wanted) return;
    fill(this.side, button("Close", () => this.side.classList.remove("open"), { class: "close" }), contents);
    this.side.scrollTop = 0;
    if (isAsked) this.side.classList.add("open");
  }

  nextDifference() {
    const changes = [...this.main.querySelectorAll("tbody .change")];
    const next = changes[(changes.indexOf(document.activeElement) + 1) % changes.length];
    next?.focus();
    next?.scrollIntoView({ block: "center" });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
    if (event.key === "Escape") {
      if (typing(event)) event.target.blur();
      else if (this.tree?.root) this.tree.zoom();
      else this.side.classList.remove("open");
      return;
    }
    if (typing(event)) return;
    const actions = {
      "/": () => { this.tests.text.focus(); this.tests.text.select(); },
      j: () => this.tests.step(1),
      k: () => this.tests.step(-1),
      d: () => this.nextDifference(),
      e: () => this.tree?.next((row) => row.isWrong),
      z: () => this.tree?.zoom(),
      o: () => this.go({}),
      "?": () => $("keys").showModal(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}

try {
  const kept = localStorage.getItem("pytest-langfuse-theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* a page that may keep nothing */ }

loadIndex().then(() => new Page()).catch((error) => {
  $("loading").textContent = `The traces can't be shown: ${error}. A browser of 2024 or later is needed.`;
});
