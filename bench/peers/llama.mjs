// node-llama-cpp on the processor, from its own package folder. Started at once, so that a cold start counts what a program
// that imports the package would wait for.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

export const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: LlamaLogLevel.error,
  maxThreads: 0,
});
