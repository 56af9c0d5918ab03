import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 240_000, // a shared machine may be ten times slower than an idle one
    hookTimeout: 240_000,
    maxWorkers: 2,
  },
});
