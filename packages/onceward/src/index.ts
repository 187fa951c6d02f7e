// What most users import: the library's main names, re-exported.
export {};
