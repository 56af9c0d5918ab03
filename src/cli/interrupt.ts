// Ctrl-C in the middle of long work.

/** Runs work whose signal Ctrl-C aborts, with `message`; where that makes it fail, the exit code is 130. */
export async function interruptible<T>(
  message: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error(message));
  process.once("SIGINT", onInterrupt);
  try {
    return await work(interrupt.signal);
  } catch (error) {
    if (interrupt.signal.aborted) process.exitCode = 130;
    throw error;
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}
