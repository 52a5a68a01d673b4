// Observations as the literal that `assert_tree` takes.

const BARE_NAME = /^(?![#!])[^\s"'=<>~$\\\x00-\x1f\x7f-\x9f]+$/;
const BARE_VALUE = /^[A-Za-z_][A-Za-z0-9_./:@+-]*$/;
const CONSTANTS = new Set(["true", "false", "null", "NaN", "Infinity", "-Infinity"]);
const HIDDEN = /[^\P{C}]|[^\P{Z} ]/gu;

/** JSON in which nothing hides: what a reader would not see is escaped. */
function compactJson(value) {
  return JSON.stringify(value).replace(HIDDEN, (char) => char.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""));
}

function literalName(name) {
  const escaped = name.replace(/[*?[]/g, "[$&]");
  return BARE_NAME.test(escaped) && escaped.search(HIDDEN) < 0 ? escaped : compactJson(escaped);
}

function literalValue(value) {
  const isBare = typeof value === "string" && value.length <= 60 && BARE_VALUE.test(value) && !CONSTANTS.has(value);
  return isBare ? value : compactJson(value);
}

const literalWords = (entries) => entries.filter(([, value]) => isSet(value)).map(([key, value]) => `${key}=${literalValue(value)}`);

/** An observation and all below it, with their scores; of a root, those of its trace, too. */
async function literalOf(row, scores) {
  const lines = [];
  const given = new Map();
  for (const score of scores) {
    const { trace, observation, name, value, comment, metadata } = score;
    const key = `${trace}/${observation ?? ""}`;
    if (!given.has(key)) given.set(key, []);
    given.get(key).push(["score", literalName(String(name)), ...literalWords(Object.entries({ value, comment, metadata }))].join(" "));
  }
  const add = (depth, texts) => texts.forEach((text) => lines.push("  ".repeat(depth) + text));
  const stack = [row];
  while (stack.length) {
    const one = stack.pop();
    const detail = await detailOf(one);
    const fields = {
      level: one.level === "DEFAULT" ? "" : one.level, status_message: detail.status, model: detail.model,
      model_parameters: detail.model_parameters, prompt_name: (detail.prompt ?? "").replace(/ v\d+$/, ""), input: detail.input,
      output: detail.output, usage: detail.usage, cost: detail.cost_estimated ? null : detail.cost, metadata: detail.metadata,
      user_id: detail.user, session_id: detail.session, tags: detail.tags,
    };
    const depth = one.depth - row.depth;
    add(depth, [[one.type, literalName(one.name), ...literalWords(Object.entries(fields))].join(" ")]);
    add(depth + 1, given.get(`${one.trace}/${one.id}`) ?? []);
    for (const child of [...one.children].reverse()) stack.push(child);
  }
  if (!row.above) add(0, given.get(`${row.trace}/`) ?? []);
  return lines.join("\n");
}
