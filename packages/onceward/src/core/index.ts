// onceward/core: the engine and its contracts, re-exported.
export {};
