// How a shared suite registers its cases with any test runner, skips included.

/** What a suite needs of a test runner; vitest, node:test, jest and mocha have it. */
export interface SuiteRunner {
  describe(title: string, body: () => void): unknown;
  readonly it: {
    (title: string, body: () => Promise<void>): unknown;
    skip(title: string, body: () => Promise<void>): unknown;
  };
}

/** Cases by group. */
export type SuiteGroups<Case extends { readonly title: string }> = Readonly<Record<string, readonly Case[]>>;

/** Cases that are not to be run, by their title or its beginning, each with the reason. */
export type SuiteSkips = Readonly<Record<string, string>>;

/** Registers all cases but those that `leaveOut` says are not possible at all. */
export function registerSuite<Case extends { readonly title: string }>(
  title: string,
  runner: SuiteRunner,
  groups: SuiteGroups<Case>,
  options: {
    readonly skips: SuiteSkips;
    readonly leaveOut?: (suiteCase: Case) => boolean;
    readonly run: (suiteCase: Case) => Promise<void>;
  },
): void {
  const { skips, leaveOut, run } = options;
  assertSkipsMatch(groups, Object.keys(skips));
  runner.describe(title, () => {
    for (const [group, cases] of Object.entries(groups)) {
      const possible = cases.filter((suiteCase) => leaveOut?.(suiteCase) !== true);
      if (possible.length === 0) continue;
      runner.describe(group, () => {
        for (const suiteCase of possible) {
          const reason = Object.entries(skips).find(([start]) => suiteCase.title.startsWith(start))?.[1];
          const body = (): Promise<void> => run(suiteCase);
          if (reason === undefined) runner.it(suiteCase.title, body);
          else runner.it.skip(`${suiteCase.title} (skipped: ${reason})`, body);
        }
      });
    }
  });
}

/** A skip that matches no case is one whose case was renamed; it must not hide that. */
function assertSkipsMatch(groups: SuiteGroups<{ readonly title: string }>, skips: readonly string[]): void {
  const titles = Object.values(groups).flatMap((cases) => cases.map(({ title }) => title));
  const unused = skips.filter((skip) => !titles.some((title) => title.startsWith(skip)));
  if (unused.length > 0) throw new Error(`These skips match no case: ${unused.join(", ")}`);
}
