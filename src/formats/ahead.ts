// Reading ahead: the next item is made while one is used. Knows nothing of what the items are.

/**
 * The items of `from` in order; each is asked for as soon as the one before is there. Items must not share memory that is
 * written again.
 */
export async function* ahead<T>(from: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const items = from[Symbol.asyncIterator]();
  let next = items.next();
  try {
    for (;;) {
      const item = await next;
      if (item.done) return;
      next = items.next();
      next.catch(() => {}); // thrown where it is awaited
      yield item.value;
    }
  } finally {
    await next.catch(() => {});
    await items.return?.();
  }
}
