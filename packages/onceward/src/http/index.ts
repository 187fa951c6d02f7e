// The public entry of the HTTP layer.
export * from "./layer.js";
export * from "./message.js";
