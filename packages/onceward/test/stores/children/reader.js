// A process that opens a store, looks whether it has a record with status 201, and says so by its exit code.

import { createStore } from "./sqlite-store.js";

const [argument, id] = process.argv.slice(2);
const store = createStore(argument);
await store.open();
const found = await store.find(id);
await store.close();
process.exitCode = found?.record.status === 201 ? 0 : 3;
