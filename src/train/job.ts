// What a caller holds while something long runs: events to iterate, a result to await.

/**
 * Long work that has begun, training or writing samples. `for await` gives its steps from the first on, and leaving the loop stops it as an abort does;
 * `await job.result` is enough to let it run to its end. What goes wrong rejects the one and is thrown in the other.
 */
export class Job<Step, Result> implements AsyncIterable<Step> {
  readonly result: Promise<Result>;
  private readonly steps: Step[] = [];
  private readonly stop = new AbortController();
  private ended = false;
  private wake: () => void = () => {};

  /** @param work gets a function that reports a step, and a signal that ends it early */
  constructor(
    work: (report: (step: Step) => void, signal: AbortSignal) => Promise<Result>,
    signal?: AbortSignal,
  ) {
    const report = (step: Step) => {
      this.steps.push(step);
      this.wake();
    };
    const any = signal ? AbortSignal.any([signal, this.stop.signal]) : this.stop.signal;
    this.result = Promise.resolve().then(() => work(report, any));
    const end = () => {
      this.ended = true;
      this.wake();
    };
    // Handled here too: where the loop throws it, it must not count as an unhandled rejection.
    this.result.then(end, end);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Step, void, undefined> {
    try {
      while (true) {
        const step = this.steps.shift();
        if (step !== undefined) yield step;
        else if (this.ended) break;
        else await new Promise<void>((resolve) => (this.wake = resolve));
      }
      await this.result;
    } finally {
      this.stop.abort(new Error("The job was stopped"));
    }
  }
}
