// A list of which only the rows exist that are in view. All rows are equally high.

class VirtualList {
  /** `scroller` scrolls; `body` in it is as high as all rows; `render(position)` makes a row. */
  constructor(scroller, body, height, render) {
    Object.assign(this, { scroller, body, height, render, count: 0, active: -1, rows: new Map(), queued: false, isHeld: false });
    on(scroller, "scroll", () => this.update());
    new ResizeObserver(() => this.update()).observe(scroller);
  }

  reset(count, active = -1) {
    this.count = count;
    this.active = active;
    this.body.style.height = `${count * this.height}px`;
    this.rows.forEach((row) => row.remove());
    this.rows.clear();
    this.draw();
  }

  update() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.draw();
    });
  }

  draw(from, to) {
    if (this.isHeld && to === undefined) return;
    const above = this.body.offsetTop;
    const top = Math.max(0, this.scroller.scrollTop - above);
    const first = from ?? Math.max(0, Math.floor(top / this.height) - 8);
    const last = to ?? Math.min(this.count, Math.ceil((top + this.scroller.clientHeight) / this.height) + 8);
    for (const [position, row] of this.rows) {
      // A row that has the focus stays: it would be lost with it.
      if ((position < first || position >= last) && row !== document.activeElement) {
        row.remove();
        this.rows.delete(position);
      }
    }
    const added = [];
    for (let position = first; position < last; position++) {
      if (this.rows.has(position)) continue;
      const row = this.make(position);
      this.rows.set(position, row);
      added.push(row);
    }
    this.body.append(...added);
    if (added.length && !this.body.querySelector('[tabindex="0"]')) this.body.firstElementChild?.setAttribute("tabindex", "0");
  }

  make(position) {
    const row = this.render(position);
    row.style.top = `${position * this.height}px`;
    row.style.height = `${this.height}px`;
    row.setAttribute("tabindex", position === this.active ? "0" : "-1");
    row.setAttribute("aria-selected", String(position === this.active));
    row.dataset.position = position;
    return row;
  }

  /** Make a row the active one, and show it. */
  activate(position, focus) {
    if (position < 0 || position >= this.count) return;
    const before = this.rows.get(this.active);
    this.active = position;
    if (before) {
      before.setAttribute("tabindex", "-1");
      before.setAttribute("aria-selected", "false");
    }
    this.body.querySelectorAll('[tabindex="0"]').forEach((row) => row.setAttribute("tabindex", "-1"));
    const { scroller, height } = this;
    const above = this.body.offsetTop;
    const top = position * height;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + height + above > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + height + above - scroller.clientHeight;
    this.draw();
    const row = this.rows.get(position);
    row?.setAttribute("tabindex", "0");
    row?.setAttribute("aria-selected", "true");
    if (focus) row?.focus({ preventScroll: true });
  }

  /** Where a key leads from the active row, or -1. */
  target(key) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(key in steps) || !this.count) return -1;
    return Math.min(this.count - 1, Math.max(0, this.active + steps[key]));
  }
}
