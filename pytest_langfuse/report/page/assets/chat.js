// Chat messages in the shapes of SDKs and frameworks, as one: a role, parts, and what else there is. All shapes are in
// the tables; tests/report/page/chat_shapes.py has a payload of each.

// What the SDK puts in place of a file that it uploads.
const REFERENCE = /(@@@langfuseMedia:type=[^|@]+\|id=[^|@]+\|source=[^@]*@@@)/;

/** Where requests and answers keep messages, in the order in which these were said, and who says a text in their place. */
const HOLDERS = {
  system: "system", instructions: "system", systemInstruction: "system", system_instruction: "system", messages: "user", contents: "user",
  input: "user", prompt: "user", message: "assistant", content: "", choices: "assistant", candidates: "assistant", generations: "assistant", output: "assistant",
};

/** What a message is wrapped into: choices, candidates, LangChain's generations. */
const WRAPPERS = ["message", "delta", "content", "data"];

/** LangChain's types of messages and pydantic-ai's kinds, which stand for roles. */
const ROLES = /^(human|ai|system|tool|function|chat|developer|remove|request|response)$|^[A-Z]\w*Message(Chunk)?$/;

/** The fields of a message that are its parts. */
const BODIES = ["reasoning_content", "thinking_blocks", "content", "parts", "blocks", "tool_calls", "function_call"];
const BODY_KINDS = { reasoning_content: "thinking", function_call: "call", tool_calls: "call" };

/** Kinds of parts: their types, keys below which they lie, and where their value is. */
const PARTS = {
  result: { types: /(tool|call)[\w-]*(result|output|response|return)$/, keys: ["functionResponse", "function_response", "toolResult"], values: ["output", "result", "response", "content"] },
  call: { types: /tool_use$|(^|[_-])call$|^function$/, keys: ["functionCall", "function_call", "toolUse", "function"], values: ["arguments", "args", "input", "tool_kwargs"] },
  thinking: { types: /^(redacted_)?(thinking|reasoning)$/, keys: ["reasoningContent"], values: ["thinking", "reasoning", "reasoningText", "text", "content", "summary", "data"] },
  text: { types: /(^|_)text$|-prompt$|^refusal$/, keys: [], values: ["text", "refusal", "content", "value"] },
};
const NAMES = ["name", "tool_name", "toolName"];
const TYPES = ["type", "part_kind", "block_type"];

const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isSet = (value) => value !== null && value !== undefined && value !== "" && !(typeof value === "object" && !Object.keys(value).length);
const firstOf = (value, keys) => keys.find((key) => isSet(value[key])) ?? keys.find((key) => key in value);
const without = (value, ...keys) => Object.entries(value).filter(([key, inner]) => !keys.includes(key) && isSet(inner));

/** The messages in a value, and its entries that are none; or null. */
function chatIn(value, depth = 0) {
  if (depth > 5) return null;
  if (Array.isArray(value)) return chatOfList(value, depth);
  if (!isPlain(value)) return null;
  const message = messageIn(value, depth);
  return message ? { messages: message, others: [] } : chatOfHolder(value, depth);
}

function chatOfList(list, depth) {
  if (!list.length) return null;
  if (list.every((one) => isPlain(one) && !("role" in one) && /^(text|thinking|call|result)$/.test(typedPart(one)?.kind)) && list.some((one) => typedPart(one).kind === "text")) {
    return { messages: [{ role: "", parts: list.map(partIn), rest: [] }], others: [] };
  }
  const messages = [];
  for (const one of list) {
    const chat = chatIn(one, depth + 1);
    if (!chat || chat.others.length) return null;
    messages.push(...chat.messages);
  }
  return { messages, others: [] };
}

function chatOfHolder(value, depth) {
  const found = {};
  const keys = Object.keys(HOLDERS).filter((key) => key in value);
  for (const key of keys) {
    const chat = chatIn(value[key], depth + 1);
    if (chat && !chat.others.length) found[key] = chat.messages.map((message) => ({ ...message, role: message.role || HOLDERS[key] }));
  }
  if (!Object.keys(found).length) return null;
  for (const key of keys) {
    const parts = !found[key] && (typeof value[key] === "string" || HOLDERS[key] === "system") ? partsIn(value[key]) : [];
    if (parts.length && parts.every((part) => part.kind === "text")) found[key] = [{ role: HOLDERS[key], parts, rest: [] }];
  }
  return { messages: keys.flatMap((key) => found[key] ?? []), others: Object.entries(value).filter(([key]) => !(key in found)) };
}

/** The messages that an object is: one, or those of what it wraps. */
function messageIn(value, depth) {
  const { role, kind, kwargs, parts } = value;
  const type = typeof value.type === "string" ? value.type : "";
  const given = typeof role === "string" ? role : [type, kind].find((one) => typeof one === "string" && ROLES.test(one));
  const bodies = BODIES.filter((key) => key in value);
  // Gemini's contents need no role.
  const hasParts = Array.isArray(parts) && parts.length && parts.every((part) => partIn(part).kind !== "json");
  if (given === undefined && hasParts) return [messageOfBodies(value, "", bodies)];
  if (given !== undefined && bodies.length && !isPlain(value.data)) return [messageOfBodies(value, given, bodies)];
  const part = typedPart(value);
  if (part && part.kind !== "text") return [{ role: part.kind === "result" ? "tool" : "assistant", parts: [part], rest: [] }];
  if (value.lc && isPlain(kwargs) && Array.isArray(value.id)) return messageIn({ type: String(value.id.at(-1)), ...kwargs }, depth);
  const wrapper = WRAPPERS.find((key) => isPlain(value[key]));
  const chat = wrapper && Object.keys(value).every((key) => key === wrapper || !(key in HOLDERS)) ? chatIn(value[wrapper], depth + 1) : null;
  if (!chat || chat.others.length || chat.messages.length !== 1) return null;
  // LangChain's generation has the text of its message, too.
  const rest = without(value, wrapper, "text", ...(wrapper === "data" ? ["type"] : []));
  return [{ ...chat.messages[0], rest: [...chat.messages[0].rest, ...rest] }];
}

function messageOfBodies(value, role, bodies) {
  const parts = [];
  for (const key of bodies) {
    for (const part of partsIn(value[key], BODY_KINDS[key])) {
      // LangChain has the calls of Anthropic's blocks twice.
      if (part.kind !== "call" || !part.id || !parts.some((one) => one.id === part.id)) parts.push(part);
    }
  }
  const isType = value.role !== role || value.type === "message";
  return { role, parts, rest: without(value, "role", ...(isType ? ["type", "kind"] : []), ...bodies) };
}

/** The parts of a content, or of the value of a part. */
function partsIn(content, kind) {
  if (!isSet(content)) return [];
  const list = Array.isArray(content) ? content : [content];
  return list.flatMap((one) => (isPlain(one) && PARTS.text.types.test(typeOf(one)) && Array.isArray(one.content) ? partsIn(one.content) : kind && !(isPlain(one) && typedPart(one)) ? partOfKind(kind, isPlain(one) ? one : { text: one }) : partIn(one)));
}

function partIn(one) {
  if (typeof one === "string") return { kind: "text", value: one, rest: [] };
  if (!isPlain(one)) return { kind: "json", value: one, rest: [] };
  if (typeof one.text === "string" && !one.thought && !typeOf(one)) return { kind: "text", value: one.text, rest: without(one, "text") };
  const part = one.thought ? partOfKind("thinking", one) : typedPart(one);
  if (part) return part;
  const address = addressIn(one);
  return address ? { kind: "image", value: address, rest: [] } : { kind: "json", value: one, rest: [] };
}

const typeOf = (part) => TYPES.map((key) => part[key]).find((type) => typeof type === "string") ?? "";

/** A part that its type, or its only key, tells; or null. */
function typedPart(part) {
  const type = typeOf(part);
  for (const [kind, { types, keys, values }] of Object.entries(PARTS)) {
    const key = keys.find((one) => isPlain(part[one]));
    const inner = key ? part[key] : part;
    const isOne = type ? types.test(type) : key && key !== "function" && Object.keys(part).length < 3;
    // The definition of a tool is no call of it.
    if (isOne && (values.some((one) => one in inner) || /_call$/.test(type))) return partOfKind(kind, part);
  }
  return null;
}

function partOfKind(kind, part) {
  const { keys, values } = PARTS[kind];
  const key = keys.find((one) => isPlain(part[one]));
  const inner = key ? part[key] : part;
  const name = firstOf(inner, NAMES);
  const at = firstOf(inner, values);
  let value = inner[at];
  if (kind === "text" && typeof value !== "string") value = typeof value?.value === "string" ? value.value : JSON.stringify(value ?? "");
  const rest = [...(key ? without(part, key, ...TYPES) : []), ...without(inner, name, at, ...(kind === "text" || kind === "thinking" || name ? TYPES : []), "thought")];
  return { kind, id: part.id, name: name ? String(inner[name]) : "", value, rest };
}

/** Where the pixels of a part are: a data URL, or a reference to an upload. */
function addressIn(part) {
  const blob = [part.source, part.inline_data, part.inlineData, part.image?.source, part].find(isPlain);
  const data = blob.data ?? blob.bytes ?? blob.base64 ?? blob.image;
  const type = blob.media_type ?? blob.mime_type ?? blob.mimeType ?? blob.mediaType ?? `image/${part.image?.format}`;
  const address = part.image_url?.url ?? part.image_url ?? (typeof data === "string" && !/^(@@@|data:)/.test(data) ? `data:${type};base64,${data}` : data);
  return typeof address === "string" && (RASTER.test(address) || REFERENCE.test(address)) ? address : "";
}
