// The hub: models by name, downloaded into Hugging Face's own cache, listed, removed; and the switch that forbids it.

export {
  type CachedFile,
  type CachedModel,
  hubCache,
  listModels,
  type RemoveResult,
  removeModel,
} from "./cache.ts";
export { type HubName, parseHubName } from "./name.ts";
export { goOffline, isOffline } from "./offline.ts";
export { type PulledFile, type PullOptions, type PullProgress, type PullResult, pull } from "./pull.ts";
export type { HubOptions } from "./remote.ts";
