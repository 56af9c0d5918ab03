// Adapters: opened, checked against a model, loaded, put together, written, merged.

export { type LinearTarget, linearTargets, targetOf } from "../targets.ts";
export { checkAdapter, HEAD, type LoraPair, type OpenedAdapter, rankOf } from "./adapter.ts";
export { adapterKey, composeAdapters, type ScaledAdapter } from "./compose.ts";
export { convertAdapter } from "./export.ts";
export { type AdapterToFuse, type FuseOptions, type FuseResult, fuse } from "./fuse.ts";
export { type AdapterInspection, inspectAdapter, isAdapter } from "./inspect.ts";
export { type LoadedAdapter, type LoadedChange, loadAdapter } from "./load.ts";
export { openAdapter } from "./open.ts";
export { moduleTest } from "./peft-config.ts";
export { type AdapterLoader, adapterLoader } from "./read.ts";
export { type AdapterToSave, type PairToSave, saveAdapter } from "./save.ts";
