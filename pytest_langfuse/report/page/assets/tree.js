// Middle: the tree of a test, and its waterfall on one axis.

const ROW = 26;

class Tree {
  /** `select(row, isAsked)` is called for the row that becomes the active one, by itself or since the user asked. */
  constructor(opened, select) {
    Object.assign(this, { opened, select, closed: new Set(), root: null, found: null });
    const printed = par("note print-only");
    this.printed = printed;
    this.crumb = span("crumb");
    this.search = el("input", { type: "search", placeholder: "find in the trace", "aria-label": "Find in the trace", on: {
      keydown: (event) => { if (event.key === "Enter") this.find(event.shiftKey ? -1 : 1); },
      input: () => this.findText(),
    } });
    this.foundText = el("span", { class: "note", role: "status" });
    this.grid = el("div", { role: "treegrid", class: "scroll", "aria-label": "Observations", "aria-colcount": 5 });
    this.axis = el("div", { role: "columnheader", class: "cell-time ticks" });
    const head = (name, kind) => el("div", { role: "columnheader", class: `cell-${kind}` }, name);
    this.grid.append(el("div", { role: "rowgroup", class: "head" }, el("div", { role: "row", "aria-rowindex": 1, class: "head-row" }, head("Observation", "name"), head("Model", "model"), head("Tokens", "tokens"), head("Cost", "cost"), this.axis)));
    const body = el("div", { role: "rowgroup", class: "rows" });
    this.grid.append(body);
    this.list = new VirtualList(this.grid, body, ROW, (position) => this.row(position));
    on(body, "click", (event) => {
      const row = event.target.closest("[data-position]");
      if (!row) return;
      const position = Number(row.dataset.position);
      if (event.target.closest(".twisty")) this.toggle(this.visible[position]);
      else this.choose(position, true);
    });
    on(body, "dblclick", (event) => {
      const row = event.target.closest("[data-position]");
      if (row && !event.target.closest(".twisty")) this.toggle(this.visible[Number(row.dataset.position)]);
    });
    on(body, "keydown", (event) => this.key(event));
    this.measure();
    this.lanes = this.lanesOf();
    const wrong = opened.ordered.filter((row) => row.isWrong).length;
    this.element = el("section", { "aria-label": "Trace", class: "trace" },
      div("bar tools", heading(this.title()), this.search, this.foundText,
        wrong ? button(`Next of ${count(wrong, "problem")} (e)`, () => this.next((row) => row.isWrong)) : null,
        button("Fold", () => this.foldBelow(1)), button("Unfold", () => this.foldBelow(Infinity)), this.crumb),
      this.lanes, this.grid, printed);
    this.show();
  }

  /** Columns of figures are as wide as the widest one; indents are so small that the deepest row has room for its name. */
  measure() {
    const most = (of, least) => this.opened.rows.reduce((known, row) => Math.max(known, of(row)), least);
    const { style } = this.grid;
    style.setProperty("--tokens", `${most((row) => figure(row.tokens).length, 6)}ch`);
    style.setProperty("--cost", `${most((row) => money(row.cost, row.estimated).length, 4)}ch`);
    style.setProperty("--step", `min(14px, ${30 / most((row) => row.depth, 1)}%)`);
  }

  title() {
    const { rows, traceNumber } = this.opened;
    const missing = rows.filter((row) => row.reason).length;
    return `${count(rows.length, "observation")}${missing ? `, ${figure(missing)} of them not in Langfuse` : ""}${traceNumber.size > 1 ? `, in ${traceNumber.size} traces` : ""}`;
  }

  /** Work out which rows there are: all but those below a closed one, or outside of the subtree that is zoomed to. */
  show(active = null) {
    const all = this.root ? this.subtree(this.root) : this.opened.ordered;
    this.visible = [];
    let hiddenBelow = Infinity;
    for (const row of all) {
      if (row.depth > hiddenBelow) continue;
      hiddenBelow = this.closed.has(row) ? row.depth : Infinity;
      this.visible.push(row);
    }
    this.place = new Map(this.visible.map((row, at) => [row, at]));
    Object.assign(this, extentOf(all));
    fill(this.axis, span("away", "Time"), ticks(0, this.to - this.from, 2));
    this.base = this.root ? this.root.depth : 0;
    this.grid.setAttribute("aria-rowcount", this.visible.length + 1);
    // In place of one that is hidden: what it is folded into.
    while (active && !this.place.has(active)) active = active.above;
    this.list.reset(this.visible.length, this.place.get(active) ?? -1);
    fill(this.crumb, this.root ? [`zoomed to ${this.root.name} `, button("Whole trace (z)", () => this.zoom())] : []);
  }

  subtree(root) {
    const { ordered } = this.opened;
    const from = ordered.indexOf(root);
    let to = from + 1;
    while (to < ordered.length && ordered[to].depth > root.depth) to++;
    return ordered.slice(from, to);
  }

  get active() {
    return this.visible[this.list.active] ?? null;
  }

  row(position) {
    const row = this.visible[position];
    const { opened } = this;
    const lost = row.reason.startsWith("lost");
    const isOpen = !this.closed.has(row);
    const from = (100 * (row.start - this.from)) / (this.to - this.from);
    const end = (100 * (row.end - this.from)) / (this.to - this.from);
    const state = `${row.level === "ERROR" ? " is-error" : ""}${lost ? " is-lost" : row.reason ? " is-unexported" : ""}${row.duration === null ? " is-open" : ""}`;
    const bar = coloured(span(`span-bar${state}`), row.type);
    bar.style.left = `${from}%`;
    bar.style.width = `max(3px, ${row.duration === null ? 100 - from : end - from}%)`;
    const label = span("span-time", time(row.duration));
    // Never outside of the cell, however narrow that is.
    const beside = (part) => `min(${part}% + 6px, 100% - ${label.textContent.length + 1}ch)`;
    const room = Math.max(100 - end, from) >= 35;
    if (room && 100 - end >= from) label.style.left = beside(end);
    else if (room) label.style.right = beside(100 - from);
    else {
      label.classList.add("over");
      label.style.right = "4px";
    }
    const where = [row.process, row.thread].filter(Boolean).join(", ");
    const above = row.above ? [row.above.process, row.above.thread].filter(Boolean).join(", ") : "";
    const name = el("div", { role: "gridcell", class: "cell-name" },
      row.children.length ? el("span", { class: "twisty", "aria-hidden": "true" }, isOpen ? "▾" : "▸") : span("twisty-space"),
      badge(row.type), span("name", row.name),
      !row.above && opened.traceNumber.size > 1 ? span("tag", `trace ${opened.traceNumber.get(row.trace)}`) : null,
      row.reason || row.isGone ? span(`tag${row.isGone ? " bad" : ""}`, row.reason || "never ended") : null,
      row.level && row.level !== "DEFAULT" ? span(`tag level-${row.level}`, row.level) : null,
      row.findings ? span("tag bad", count(row.findings, "finding")) : null,
      where && where !== above && (above || opened.lanes.length > 1) ? span("tag where", where) : null);
    name.style.paddingLeft = `calc(4px + ${row.depth - this.base} * var(--step))`;
    const found = this.found?.has(row);
    return el("div", { role: "row", class: `tree-row${found ? " is-found" : ""}`, "aria-level": row.depth - this.base + 1, "aria-rowindex": position + 2, "aria-expanded": row.children.length ? String(isOpen) : null },
      name,
      el("div", { role: "gridcell", class: "cell-model" }, row.model),
      el("div", { role: "gridcell", class: "cell-tokens" }, figure(row.tokens)),
      el("div", { role: "gridcell", class: "cell-cost" }, money(row.cost, row.estimated)),
      el("div", { role: "gridcell", class: "cell-time" }, bar, label));
  }

  choose(position, focus, isAsked = true) {
    this.list.activate(position, focus);
    if (this.active) this.select(this.active, isAsked);
  }

  /** Show a row, whatever is closed above it. */
  reveal(row, focus) {
    for (let above = row.above; above; above = above.above) this.closed.delete(above);
    if (this.root && !this.subtree(this.root).includes(row)) this.root = null;
    if (!this.place.has(row) || this.visible[this.place.get(row)] !== row) this.show();
    this.choose(this.place.get(row), focus);
  }

  toggle(row) {
    if (!row.children.length) return;
    if (!this.closed.delete(row)) this.closed.add(row);
    const had = this.grid.contains(document.activeElement);
    this.show(this.active ?? row);
    if (had) this.list.activate(this.list.active, true);
  }

  foldBelow(depth) {
    this.closed = new Set(this.opened.ordered.filter((row) => row.depth >= depth && row.children.length));
    this.show(this.active);
  }

  key(event) {
    const row = this.active;
    if (event.target.closest("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = this.list.target(event.key);
    if (to >= 0) this.choose(to, true);
    else if (!row) return;
    else if (event.key === "ArrowRight") {
      if (this.closed.has(row)) this.toggle(row);
      else if (row.children.length) this.choose(this.list.active + 1, true);
    } else if (event.key === "ArrowLeft") {
      if (row.children.length && !this.closed.has(row)) this.toggle(row);
      else if (row.above && this.place.has(row.above)) this.choose(this.place.get(row.above), true);
    } else if (event.key === "Enter" || event.key === " ") this.toggle(row);
    else return;
    event.preventDefault();
  }

  /** Go to the next row, in the order of the tree, that is asked for; after the last one, to the first. */
  next(isWanted, by = 1) {
    const { ordered } = this.opened;
    const start = this.active ? ordered.indexOf(this.active) : by > 0 ? -1 : 0;
    for (let step = 1; step <= ordered.length; step++) {
      const row = ordered[(start + by * step + ordered.length * 2) % ordered.length];
      if (isWanted(row)) { this.reveal(row, true); return; }
    }
  }

  /** Zoom to the active row and what is below it, or out again. */
  zoom() {
    const active = this.active;
    this.root = this.root || !active ? null : active;
    this.show(active);
    this.list.activate(Math.max(0, this.list.active), true);
  }

  async findText() {
    const text = this.search.value.trim();
    const search = (this.searching = {});
    this.found = null;
    this.foundText.textContent = "";
    if (text) {
      const byDetail = new Map(this.opened.rows.map((row) => [row.detail, row]));
      const found = new Set();
      for await (const numbers of searchDetails(text)) {
        if (search !== this.searching) return;
        for (const number of numbers) if (byDetail.has(number)) found.add(byDetail.get(number));
      }
      this.found = found;
      this.foundText.textContent = `${figure(found.size)} found`;
    }
    this.show(this.active);
  }

  find(by) {
    if (this.found?.size) {
      this.next((row) => this.found.has(row), by);
      this.search.focus();
    }
  }

  // -- lanes: what ran where ---------------------------------------------------------------------------------------

  lanesOf() {
    const { opened } = this;
    const lanes = new Map();
    for (const row of opened.ordered) {
      const name = [row.process, row.thread].filter(Boolean).join(", ") || "this process";
      if (!lanes.has(name)) lanes.set(name, []);
      lanes.get(name).push(row);
    }
    opened.lanes = [...lanes];
    if (lanes.size < 2 && opened.rows.length < 200) return null;
    const shown = opened.lanes.slice(0, 12);
    const { from, to } = opened;
    const box = div("lanes", el("div", { role: "list", "aria-label": "Processes and threads" }, shown.map(([name, rows]) => {
      const canvas = el("canvas", { role: "img", "aria-label": `${name}: ${count(rows.length, "observation")}`, title: "show the observation here", on: { click: (event) => {
        const at = from + ((to - from) * event.offsetX) / canvas.clientWidth;
        const distance = (row) => Math.max(0, row.start - at, at - row.end);
        this.reveal(rows.reduce((best, row) => (distance(row) <= distance(best) ? row : best)), true);
      } } });
      canvas.paint = () => paintLane(canvas, rows, from, to);
      return el("div", { class: "lane", role: "listitem" }, el("span", { class: "lane-name", title: name }, name), canvas);
    })), lanes.size > shown.length ? par("note", `${lanes.size - shown.length} more`) : null);
    new ResizeObserver(() => box.querySelectorAll("canvas").forEach((canvas) => canvas.paint())).observe(box);
    return box;
  }

  /** Put all rows into the page, up to a limit, since a printer does not scroll. */
  expand(limit) {
    const rows = Math.min(limit, this.visible.length);
    this.list.isHeld = true;
    this.list.draw(0, rows);
    const left = this.visible.length - rows;
    this.printed.textContent = left > 0 ? `${count(left, "observation")} more of this ${index.noun} are not printed.` : "";
  }

  collapse() {
    this.list.isHeld = false;
    this.list.draw();
  }
}

function paintLane(canvas, rows, from, to) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  if (!width) return;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const probe = el("span", { hidden: true });
  canvas.after(probe);
  const colourOf = remembering(20, (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  });
  // Of rows that lie on the same pixels, one is painted.
  const painted = new Map();
  for (const row of rows) {
    const left = Math.round((width * (row.start - from)) / (to - from));
    const wide = Math.max(2, Math.round((width * (row.end - row.start)) / (to - from)));
    const key = left * 4 + Math.min(row.depth, 3);
    if ((painted.get(key) ?? 0) >= wide) continue;
    painted.set(key, wide);
    const part = Math.min(row.depth, 3);
    context.fillStyle = colourOf(row.isWrong ? "bad" : row.type in LETTERS ? row.type : "span");
    context.fillRect(left, (height * part) / 4, wide, height / 4 - 1);
  }
  probe.remove();
}
