// Langfuse's processor on OpenTelemetry's provider. It reads LANGFUSE_BASE_URL and the keys from the environment.
import { readFileSync } from "node:fs";

import { LangfuseSpanProcessor } from "@langfuse/otel";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
const provider = new NodeTracerProvider({ spanProcessors: [new LangfuseSpanProcessor({ release: version })] });
// From here on, W3C's traceparent and baggage are what `propagation` reads and writes.
provider.register();

/** Sends what is left. */
export const shutdownTracing = () => provider.shutdown();
