// onceward/testing: what proves a store, re-exported.
export {};
