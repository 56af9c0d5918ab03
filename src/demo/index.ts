/** pith/demo: the whole story in one call: call functions, learn words, swap adapters, shrink, and what left the machine. */
export { demo } from "./demo.ts";
export { Network, type NetworkFigures } from "./network.ts";
export type * from "./types.ts";
