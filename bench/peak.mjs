// `node --import ./bench/peak.mjs <program>`: at its end a program says its peak memory on stderr.
process.on("exit", () => {
  process.stderr.write(`\npeak memory ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB\n`);
});
