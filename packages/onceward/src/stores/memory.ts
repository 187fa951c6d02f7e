// The memory store.
export {};
