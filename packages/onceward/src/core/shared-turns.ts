// One asks for many: who comes while somebody asks about a key waits for the next answer, which one of them asks for.

/** An answer, and whether it is to this very caller's question. */
export interface Turn<T> {
  readonly value: T;
  readonly own: boolean;
}

interface Asking<T> {
  readonly underWay: Promise<Turn<T>>;
  /** The next question, which has not been asked yet, and whose answer is for all who came since. */
  next: Promise<Turn<T>> | null;
}

/**
 * However many requests of one key arrive at once, they ask twice: whoever is first, and one for all who came after. An
 * answer is never older than the arrival of who is given it. One that fails fails for all it was asked for.
 */
export class SharedTurns<T> {
  readonly #asking = new Map<string, Asking<T>>();

  ask(key: string, question: () => Promise<T>): Promise<Turn<T>> {
    const asking = this.#asking.get(key);
    if (asking === undefined) return this.#begin(key, question);
    if (asking.next !== null) return asking.next.then(({ value }) => ({ value, own: false }));
    const begin = (): Promise<Turn<T>> => this.#begin(key, question);
    asking.next = asking.underWay.then(begin, begin);
    return asking.next;
  }

  #begin(key: string, question: () => Promise<T>): Promise<Turn<T>> {
    const end = (): void => {
      if (asking.next === null) this.#asking.delete(key);
    };
    const underWay = question().then(
      (value): Turn<T> => {
        end();
        return { value, own: true };
      },
      (error: unknown): never => {
        end();
        throw error;
      },
    );
    const asking: Asking<T> = { underWay, next: null };
    this.#asking.set(key, asking);
    return underWay;
  }
}
