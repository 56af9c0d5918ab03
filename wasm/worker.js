// One thread of the WebAssembly backend: an instance of the module over the shared memory, which waits for jobs inside
// the module (kernels/wasm.cc) and says when it was the last to finish one. Node and browsers. Plain JavaScript, as both
// load it from beside the modules.
const inBrowser = typeof globalThis.postMessage === "function";
const port = inBrowser ? globalThis : process.getBuiltinModule("node:worker_threads").parentPort;

function work({ module, memory, thread, stack }) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stack;
  port.postMessage("ready");
  for (let last = 0; last >= 0; last = exports.work(thread)) if (last === 1) port.postMessage("done");
  port.close();
}

if (inBrowser) port.onmessage = ({ data }) => work(data);
else port.once("message", work);
