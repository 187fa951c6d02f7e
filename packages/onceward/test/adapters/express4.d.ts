// Express 4 has the types of Express 5 here: what the tests use of it is the same in both.
declare module "express4" {
  export { default } from "express";
}
