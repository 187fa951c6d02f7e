// onceward/http: HTTP meaning without a framework, re-exported.
export {};
