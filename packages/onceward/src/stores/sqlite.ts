// The SQLite store.
export {};
