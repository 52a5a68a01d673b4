// Langfuse's processor on OpenTelemetry's provider. It reads LANGFUSE_BASE_URL and the keys from the environment.
import { readFileSync } from "node:fs";

import { LangfuseSpanProcessor } from "@langfuse/otel";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
const provider = new NodeTracerProvider({ spanProcessors: [new LangfuseSpanProcessor({ release: version })] });
// From here on, `propagation` reads and writes W3C traceparent and baggage headers.
provider.register();

/** Send the last spans. */
export const shutdownTracing = () => provider.shutdown();
