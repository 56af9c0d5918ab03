// What a run of peers.mjs measured, as a Markdown table: medians, the range in brackets, ratios within a round.

/** @param {number[]} list */
export function median(list) {
  const s = [...list].sort((a, b) => a - b);
  const m = s.length >> 1;
  return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2;
}

/** Three significant figures. @param {number} n */
const short = (n) => (Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(2));

/** @param {number[] | undefined} list */
const spread = (list) =>
  list?.length ? `${short(median(list))} (${short(Math.min(...list))}-${short(Math.max(...list))})` : "";

/** Median of the ratios of each round. @param {number[] | undefined} a @param {number[] | undefined} b @param {string} [sign] */
const ratio = (a, b, sign = " x") =>
  a?.length && b?.length ? `${short(median(a.map((v, i) => v / b[Math.min(i, b.length - 1)])))}${sign}` : "";

const TITLES = {
  decode: "decode, tok/s",
  prefill: "prefill 512, tok/s",
  batch: "8 sequences, tok/s in all",
  single: "decode at 1 thread, tok/s",
};

/** @param {any} r one shape's result */
export function markdown(r) {
  const lines = [
    `### ${r.shape}, ${r.type} (head ${r.headType}), ctx ${r.ctx}, ${r.threads} threads, ${r.rounds} rounds`,
    "",
    "| | pith | node-llama-cpp | llama.cpp | pith / node-llama-cpp | pith / llama.cpp | raw read, GB/s | share of it: pith | llama.cpp |",
    "|---|---|---|---|---|---|---|---|---|",
  ];
  for (const m of r.measured) {
    const raw = m.raw.map((/** @type {number} */ b) => b / 1e9);
    const { pith, "node-llama-cpp": nlc, "llama.cpp": llama } = m.samples;
    if (m.row === "past") {
      // Here each number is ms that the past adds, beside the ms that its keys and values take to read.
      const read = m.raw.map((/** @type {number} */ b) => (r.pastBytes / b) * 1e3);
      lines.push(
        `| ${r.past} tokens of past add, ms a token | ${spread(pith)} | ${spread(nlc)} | ${spread(llama)} | ${ratio(pith, nlc)} | ${ratio(pith, llama)} | ${spread(raw)}: ${short(median(read))} ms | ${ratio(pith, read)} | ${ratio(llama, read)} |`,
      );
      continue;
    }
    /** @param {number[] | undefined} ms */
    const speed = (ms) => ms?.map((t) => 1e3 / t);
    /** Bytes of weights read a second, as a share of the raw read. @param {number[] | undefined} ms */
    const share = (ms) =>
      m.row === "decode" || m.row === "single"
        ? ratio(
            ms?.map((t) => (r.bytesPerToken / t) * 1e3 * 100),
            m.raw,
            " %",
          )
        : "";
    const config = r.configurations[m.row] && nlc?.length ? `, ${r.configurations[m.row]}` : "";
    lines.push(
      `| ${TITLES[/** @type {keyof typeof TITLES} */ (m.row)]} | ${spread(speed(pith))} | ${spread(speed(nlc))}${config} | ${spread(speed(llama))} | ${ratio(nlc, pith)} | ${ratio(llama, pith)} | ${spread(raw)} | ${share(pith)} | ${share(llama)} |`,
    );
  }
  for (const [key, title] of [
    ["loadMs", "load, ms"],
    ["firstTokenMs", "process start to first token, ms"],
    ["peakRssMib", "peak memory, MiB"],
  ]) {
    /** @param {string} name */
    const of = (name) =>
      r.starts[name]
        ?.map((/** @type {any} */ s) => s[key])
        .filter((/** @type {unknown} */ v) => v !== undefined);
    const [pith, nlc, llama] = [of("pith"), of("node-llama-cpp"), of("llama.cpp")];
    if (!pith?.length && !nlc?.length && !llama?.length) continue;
    lines.push(
      `| ${title} | ${spread(pith)} | ${spread(nlc)} | ${spread(llama)} | ${ratio(pith, nlc)} | ${ratio(pith, llama)} | | | |`,
    );
  }
  return `${lines.join("\n")}\n`;
}
