// The data. It lies packed in the page; what is shown is unpacked when it is needed.

const packedDetails = [...document.querySelectorAll("script.details")];
const packedImages = [...document.querySelectorAll("script.media")];
const packedTrees = [...document.querySelectorAll("script.tree")];
let index = null;

async function unpack(base64) {
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(base64) : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** A function that keeps the last few of its results. */
function remembering(limit, make) {
  const kept = new Map();
  return (key) => {
    const result = kept.get(key) ?? make(key);
    kept.delete(key);
    kept.set(key, result);
    if (kept.size > limit) kept.delete(kept.keys().next().value);
    return result;
  };
}

const treesOf = remembering(4, async (block) => JSON.parse(await unpack(packedTrees[block].textContent)));
const detailsOf = remembering(8, async (block) => JSON.parse(await unpack(packedDetails[block].textContent)));

async function loadIndex() {
  index = JSON.parse(await unpack($("index").textContent));
  index.tests.forEach((test, number) => {
    test.number = number;
    test.findingCount = Object.values(test.findings).reduce((sum, one) => sum + one, 0);
    test.isRed = /^(failed|error|exceeded)$/.test(test.outcome);
    test.words = [test.test, test.fault, test.message, test.degraded, test.outcome, ...(test.changes ?? []), ...(test.models ?? []), ...Object.keys(test.findings)]
      .filter(Boolean).join("\n").toLowerCase();
  });
}

/** What is shown of a test that is opened: its rows as a tree, and all that is not in the index. */
const openTest = remembering(3, async (number) => {
  const test = index.tests[number];
  const opened = { ...test, findings: [], scores: [] };
  const rows = [];
  for (const [block, position] of test.parts) {
    const part = (await treesOf(block))[position];
    opened.findings = opened.findings.concat(part.findings ?? []);
    opened.scores = opened.scores.concat(part.scores ?? []);
    for (const key of ["failure", "attempts", "difference", "outage", "health", "events", "comparison", "stored"]) if (part[key]) opened[key] = part[key];
    addRows(rows, part.tree);
  }
  opened.rows = rows;
  linkRows(opened);
  return opened;
});

function addRows(rows, tree) {
  const { texts, first, origin } = tree;
  const base = rows.length;
  for (let at = 0; at < tree.id.length; at++) {
    const parent = tree.parent[at];
    rows.push({
      id: tree.id[at], parent: typeof parent === "number" ? base + parent : parent,
      name: texts[tree.name[at]], type: texts[tree.type[at]] || "span", level: texts[tree.level[at]],
      model: texts[tree.model[at]], process: texts[tree.process[at]], thread: texts[tree.thread[at]],
      reason: texts[tree.reason[at]], trace: texts[tree.trace[at]], start: origin + tree.start[at],
      duration: tree.duration[at], tokens: tree.tokens[at], cost: tree.cost[at], estimated: tree.estimated[at], detail: first + at,
      children: [], depth: 0, findings: 0,
    });
  }
}

/** Link parents and children, in the order in which they started; what leads nowhere, or in a circle, is a root. */
function linkRows(opened) {
  const { rows } = opened;
  const byKey = (opened.byKey = new Map(rows.map((row) => [`${row.trace}/${row.id}`, row])));
  opened.byId = new Map(rows.map((row) => [row.id, row]));
  const roots = [];
  for (const row of rows) {
    const parent = typeof row.parent === "number" ? rows[row.parent] : byKey.get(`${row.trace}/${row.parent}`);
    row.above = parent && parent !== row ? parent : null;
    (row.above ? row.above.children : roots).push(row);
  }
  const byStart = (one, other) => one.start - other.start;
  const seen = new Set();
  const ordered = [];
  const walk = (root) => {
    const stack = [root];
    root.depth = 0;
    while (stack.length) {
      const row = stack.pop();
      if (seen.has(row)) continue;
      seen.add(row);
      ordered.push(row);
      row.children.sort(byStart);
      row.children = row.children.filter((child) => !seen.has(child));
      for (let at = row.children.length - 1; at >= 0; at--) {
        row.children[at].depth = row.depth + 1;
        stack.push(row.children[at]);
      }
    }
  };
  roots.sort(byStart).forEach(walk);
  for (const row of rows) {
    if (seen.has(row)) continue;
    row.above = null;
    roots.push(row);
    walk(row);
  }
  for (const finding of opened.findings) if (opened.byId.has(finding.id)) opened.byId.get(finding.id).findings++;
  for (const row of rows) {
    // What a filter or a sampler left out is as the application wants it.
    row.isGone = /^(lost|never ended)/.test(row.reason) || row.duration === null;
    row.isWrong = row.level === "ERROR" || row.isGone || row.findings > 0;
    row.end = row.start + Math.max(row.duration, 0);
  }
  Object.assign(opened, extentOf(rows));
  opened.roots = roots;
  opened.ordered = ordered;
  opened.traceNumber = new Map();
  for (const root of roots) if (!opened.traceNumber.has(root.trace)) opened.traceNumber.set(root.trace, opened.traceNumber.size + 1);
}

/** From when to when rows lasted. A loop, since there can be more rows than a function takes arguments. */
function extentOf(rows) {
  const extent = { from: Infinity, to: -Infinity };
  for (const row of rows) {
    extent.from = Math.min(extent.from, row.start);
    extent.to = Math.max(extent.to, row.end, row.start + 1);
  }
  return extent;
}

/** The last block that begins at or before a number. */
function blockOf(number) {
  let low = 0;
  let high = index.starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (index.starts[middle] <= number) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function detailOf(row) {
  const block = blockOf(row.detail);
  return (await detailsOf(block))[row.detail - index.starts[block]];
}

/** Search all observations for a text. Yields, block by block, the numbers of those that hold it. */
async function* searchDetails(text) {
  // As it stands in the blocks.
  const wanted = JSON.stringify(text.toLowerCase()).slice(1, -1);
  for (let block = 0; block < packedDetails.length; block++) {
    const whole = await unpack(packedDetails[block].textContent);
    const found = [];
    if (whole.toLowerCase().includes(wanted)) {
      JSON.parse(whole).forEach((row, at) => {
        if (JSON.stringify(row).toLowerCase().includes(wanted)) found.push(index.starts[block] + at);
      });
    }
    yield found;
    await new Promise((resume) => setTimeout(resume));
  }
}

/** A function from the number of an observation to the number of its test. */
function testFinder() {
  const parts = index.tests.flatMap((test) => test.parts.map(([, , first, size]) => [first, first + size, test.number]))
    .filter(([first, end]) => end > first).sort((one, other) => one[0] - other[0]);
  return (number) => {
    let low = 0;
    let high = parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (parts[middle][0] <= number) low = middle;
      else high = middle - 1;
    }
    return parts.length ? parts[low][2] : -1;
  };
}
