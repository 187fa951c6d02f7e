// Puts environment variables into strings: `${VAR}` and `${VAR:-default}` (SPEC §14.4).

export type Environment = Readonly<Record<string, string | undefined>>;

export type Substitution =
  | { readonly ok: true; readonly text: string; readonly changed: boolean }
  | { readonly ok: false; readonly fault: string };

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * As in a shell, the default also stands in for a variable that is empty. `$${` is a literal `${`; a dollar sign alone
 * is itself. What is put in is not looked at again.
 */
export function substitute(text: string, env: Environment): Substitution {
  let out = "";
  let changed = false;
  let at = 0;
  for (;;) {
    const start = text.indexOf("${", at);
    if (start < 0) return { ok: true, text: out + text.slice(at), changed };
    changed = true;
    if (text[start - 1] === "$" && start - 1 >= at) {
      out += `${text.slice(at, start - 1)}\${`;
      at = start + 2;
      continue;
    }
    const end = text.indexOf("}", start);
    if (end < 0) return { ok: false, fault: `a \${ has no } after it; write $\${ for the characters themselves` };
    const value = resolve(text.slice(start + 2, end), env);
    if (!value.ok) return value;
    out += text.slice(at, start) + value.text;
    at = end + 1;
  }
}

function resolve(reference: string, env: Environment): Substitution {
  const split = reference.indexOf(":-");
  const name = split < 0 ? reference : reference.slice(0, split);
  const fallback = split < 0 ? undefined : reference.slice(split + 2);
  if (!NAME.test(name)) {
    return { ok: false, fault: `\${${reference}} is not a variable; write \${NAME} or \${NAME:-default}` };
  }
  if (fallback?.includes("${")) return { ok: false, fault: `\${${name}:-…} holds another \${; they cannot be nested` };
  const value = env[name];
  if (fallback !== undefined)
    return { ok: true, text: value === undefined || value === "" ? fallback : value, changed: true };
  if (value === undefined) {
    return { ok: false, fault: `the environment variable ${name} is not set; set it, or write \${${name}:-default}` };
  }
  return { ok: true, text: value, changed: true };
}
