// One asks for many: who comes while somebody asks about a key waits for the next answer, which one of them asks for.

/** An answer, and whether it is to this very caller's question. */
export interface Turn<T> {
  readonly value: T;
  readonly own: boolean;
}

interface Asking<T> {
  readonly underWay: Promise<T>;
  /** The next question, which has not been asked yet, and whose answer is for all who came since. */
  next: Promise<T> | null;
}

/**
 * However many requests of one key arrive at once, they ask twice: whoever is first, and one for all who came after. An
 * answer is never older than the arrival of who is given it. One that fails fails for all it was asked for.
 */
export class SharedTurns<T> {
  readonly #asking = new Map<string, Asking<T>>();

  async ask(key: string, question: () => Promise<T>): Promise<Turn<T>> {
    const asking = this.#asking.get(key);
    if (asking === undefined) return { value: await this.#begin(key, question), own: true };
    if (asking.next !== null) return { value: await asking.next, own: false };
    const begin = (): Promise<T> => this.#begin(key, question);
    asking.next = asking.underWay.then(begin, begin);
    return { value: await asking.next, own: true };
  }

  #begin(key: string, question: () => Promise<T>): Promise<T> {
    const underWay = question();
    const asking: Asking<T> = { underWay, next: null };
    this.#asking.set(key, asking);
    const end = (): void => {
      if (asking.next === null) this.#asking.delete(key);
    };
    underWay.then(end, end);
    return underWay;
  }
}
