// Left: the tests.

class TestList {
  constructor(open) {
    this.open = open;
    this.shown = [];
    this.current = null;
    this.holding = null;
    this.search = 0;
    this.text = $("filter");
    on(this.text, "input", () => { this.holding = null; this.apply(); });
    on(this.text, "keydown", (event) => {
      if (event.key === "Enter") this.searchTraces();
      if (event.key === "ArrowDown") { event.preventDefault(); this.choose(Math.max(0, this.list.active), true); }
    });
    this.choices = CHOICES.map($);
    for (const choice of this.choices) on(choice, "change", () => this.apply());
    const box = $("list");
    const body = box.firstElementChild;
    this.list = new VirtualList(box, body, 40, (position) => this.row(position));
    on(body, "click", (event) => {
      const row = event.target.closest("[data-position]");
      if (row) this.choose(Number(row.dataset.position), true);
    });
    on(body, "keydown", (event) => {
      // The row that has the focus need not be the one that is open.
      const to = /^(Enter| )$/.test(event.key) ? Number(event.target.dataset.position) : this.list.target(event.key);
      if (to >= 0) { event.preventDefault(); this.choose(to, true); }
    });
    this.apply();
  }

  apply() {
    const words = this.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [outcome, rule, fault, change, slow, cost, by] = this.choices.map((one) => one.value);
    this.shown = index.tests.filter((test) =>
      (this.holding ? this.holding.has(test.number) : words.every((word) => test.words.includes(word)))
      && (!outcome || (outcome === "red" ? test.isRed : test.outcome === outcome))
      && (!rule || (rule === "*" ? test.findingCount > 0 : rule in test.findings))
      && (!fault || (fault === "!" ? test.degraded : test.fault === fault))
      && (!change || test[change])
      && (!slow || test.duration > Number(slow))
      && (!cost || test.cost > Number(cost)));
    const rank = (test) => (test.outcome === "exceeded" ? 1 : test.isRed ? 0 : test.degraded ? 2 : test.findingCount ? 3 : 4);
    if (!by) this.shown.sort((one, other) => rank(one) - rank(other) || one.number - other.number);
    else if (by !== "run") this.shown.sort((one, other) => (other[by] ?? -Infinity) - (one[by] ?? -Infinity));
    this.list.reset(this.shown.length, this.shown.indexOf(this.current));
    const all = index.tests.length;
    $("total").textContent = (this.shown.length === all ? "" : `${figure(this.shown.length)} of `) + count(all, index.noun);
  }

  /** Show the tests of which an observation holds the text, in names, inputs, outputs and everything else. */
  async searchTraces() {
    const text = this.text.value.trim();
    if (!text) return;
    const search = ++this.search;
    const testOf = testFinder();
    const words = text.toLowerCase().split(/\s+/);
    this.holding = new Set(index.tests.filter((test) => words.every((word) => test.words.includes(word))).map((test) => test.number));
    let observations = 0;
    for await (const found of searchDetails(text)) {
      if (search !== this.search || !this.holding) return;
      observations += found.length;
      found.forEach((number) => this.holding.add(testOf(number)));
    }
    this.apply();
    $("total").textContent += `; ${count(observations, "observation")} with the text`;
  }

  row(position) {
    const test = this.shown[position];
    const { file, name } = splitId(test.test);
    const marks = [test.degraded ? "degraded" : null, test.findingCount ? count(test.findingCount, "finding") : null, test.lost ? `${test.lost} lost` : null, test.reruns ? `${test.reruns} rerun` : null,
      test.exceeded ? "too much" : test.changes ? "changed" : test.added ? "new" : null];
    const facts = [secondsText(test.duration), withUnit(test.tokens, "tok"), money(test.cost, test.cost_estimated)];
    return el("div", { role: "option", class: `test ${test.outcome}`, "aria-setsize": this.shown.length, "aria-posinset": position + 1, title: test.test },
      div("line", el("b", { class: "outcome" }, MARKS[test.outcome] ?? "·", span("away", ` ${test.outcome} `)),
        span("name", name), test.fault ? span("tag", test.fault) : null),
      div("line note", span("name", [...marks.filter(Boolean), file].join(" · ")), span("", facts.filter(Boolean).join(" · "))));
  }

  choose(position, focus) {
    if (!this.shown[position]) return;
    this.current = this.shown[position];
    this.list.activate(position, focus);
    this.open(this.current);
  }

  /** Open the next test, or the one before. */
  step(by) {
    this.choose(this.list.active + by, $("list").contains(document.activeElement));
  }

  /** Mark the test that is open. */
  mark(test) {
    this.current = test;
    const position = this.shown.indexOf(test);
    if (position < 0) this.list.reset(this.shown.length);
    else this.list.activate(position, false);
  }
}

const CHOICES = ["outcome", "rule", "fault", "change", "time", "cost", "order"];
const MARKS = { passed: "✓", failed: "✗", error: "✗", exceeded: "✗", skipped: "–", xfailed: "–", xpassed: "✓" };

function splitId(id) {
  const at = id.indexOf("::");
  return at < 0 ? { file: "", name: id } : { file: id.slice(0, at), name: id.slice(at + 2) };
}
