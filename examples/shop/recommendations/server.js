// The recommendation service. Run it with `PORT=8003 npm start`.
import { createServer } from "node:http";

import { startActiveObservation } from "@langfuse/tracing";
import { context, propagation } from "@opentelemetry/api";

import { shutdownTracing } from "./tracing.js";

const GOES_WITH = { mug: ["pot", "tea"], pot: ["tea", "mug"], tea: ["pot"] };

const neighbours = (sku) =>
  startActiveObservation(
    "neighbours",
    async (retriever) => {
      const found = GOES_WITH[sku] ?? [];
      retriever.update({ input: sku, output: found });
      return found;
    },
    { asType: "retriever" },
  );

const recommend = (sku) =>
  startActiveObservation(
    "recommend",
    async (agent) => {
      const best = (await neighbours(sku)).slice(0, 1);
      agent.update({ input: sku, output: best });
      return best;
    },
    { asType: "agent" },
  );

const server = createServer(async (request, response) => {
  const [, name, sku] = request.url.split("/");
  if (name !== "recommendations") {
    response.writeHead(name === "health" ? 200 : 404).end();
    return;
  }
  // The gateway's trace context. Its baggage has the user and the session, which Langfuse's processor reads.
  const caller = propagation.extract(context.active(), request.headers);
  const found = await context.with(caller, () => recommend(sku));
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(found));
});

// On a deployment: answer the open requests, then send the last spans.
process.once("SIGTERM", () => {
  server.close(async () => {
    await shutdownTracing();
    process.exit(0);
  });
});

server.listen(Number(process.env.PORT), "127.0.0.1");
