// The sealed store.
export {};
