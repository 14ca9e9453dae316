import { ACTION_STATES } from '../common/ownership/actions.ts';
import { decideAfterFailedFinish } from '../common/ownership/after-finish.ts';
import { CLEANUP_SECTIONS, type CleanupRule } from '../common/ownership/cleanup-rules.ts';
import { decideFromFacts } from '../common/ownership/decide-ownership.ts';
import type { HostState, OwnershipFacts } from '../common/ownership/evidence.ts';
import { POST_COPY_RULES } from '../common/ownership/post-copy.ts';
import { RECOVERY_SECTIONS, type RecoveryCondition, type RecoveryOutcome } from '../common/ownership/recovery-rules.ts';
import { CopyState } from '../contract/facts.ts';
import type { Role } from '../contract/names.ts';
import { markdownTable, page } from './markdown.ts';

/** What the states mean, with libvirt's words for them. */
const STATE_MEANINGS: Record<HostState, string> = {
  running: 'the VM runs there ("running", "idle")',
  paused: 'paused by a person, an I/O error or a crash ("paused (user)", "pmsuspended"); also whatever is in doubt',
  'migrating-paused': 'a source that has sent everything and was paused by the migration ("paused (migrating)")',
  'postcopy-paused': 'the source\'s half of a post-copy, from which memory is still fetched ("paused (post-copy)")',
  'postcopy-running': 'the destination\'s half of a post-copy: the guest runs ("running (post-copy)")',
  'postcopy-failed':
    'either half, when the stream between them broke or nobody attends to the source\'s half ("paused" or "running (post-copy failed)")',
  incoming: 'a copy that is being received: not a VM yet ("paused (migrating)", with an incoming job)',
  shutoff: 'a definition, and no QEMU ("shut off")',
  absent: 'libvirt answered that there is no such domain',
  unreachable: 'the host did not answer: that proves nothing',
};
const STATES: readonly HostState[] = [...CopyState.options, 'unreachable'];

/** The rules of common/ownership/, as tables. */
export function recoveryRulesPage(): string {
  return page('The rules of recovery', [
    'From `common/ownership/`, the code that decides: who owns a VM, and what is done about it, for whatever its two hosts show. How ' +
      'recovery comes to its evidence, and why the rules keep a VM from running twice, is explained in ' +
      '[recovery.md](../recovery.md) and [handover.md](../handover.md).',
    '## What a host shows',
    markdownTable(
      ['state', 'meaning'],
      STATES.map((state) => [code(state), STATE_MEANINGS[state]]),
    ),
    '## The decisions of recovery at a glance',
    "Rows: the source. Columns: the destination. Without an active job of libvirt's on the source, and without the decision of an " +
      'operator. A name in bold is the owner with whom the migration is settled.',
    ...glances(),
    '## The rules of recovery',
    'The first rule that matches applies, from the first section on. When none does, recovery waits.',
    ...RECOVERY_SECTIONS.flatMap(recoverySection),
    '## The status of a post-copy',
    'The first rule that matches applies. The mover and recovery share these rules.',
    markdownTable(
      ['source', 'destination', 'status', 'meaning'],
      POST_COPY_RULES.map(({ source, destination, status, meaning }) => [
        states(source),
        states(destination),
        code(status),
        meaning,
      ]),
    ),
    '## The mover, after a Finish that failed',
    'Outside of a post-copy. By what the destination shows:',
    markdownTable(
      ['destination', 'libvirt refused Finish', 'the answer was lost'],
      STATES.map((state) => [
        code(state),
        ...[true, false].map((refused) => FINISH_WORDS[decideAfterFailedFinish(state, { refused })]),
      ]),
    ),
    '## A pending cleanup',
    'Of a host that did not answer when the migration was settled. The first rule that matches applies.',
    ...CLEANUP_SECTIONS.flatMap(({ owner, role, rules, otherwise }) => [
      `### On the ${role}, when the ${owner} owned the VM`,
      markdownTable(['the host shows', 'decision', 'because'], [...rules, otherwise].map(cleanupRow)),
    ]),
    '## What an action needs',
    'The agent that carries an action out checks the state again. In any other state it touches nothing.',
    markdownTable(
      ['action', 'needs', 'is done when the host shows', 'in spite of a job'],
      Object.entries(ACTION_STATES).map(([action, { needs, achieves, despiteJob }]) => [
        code(action),
        states(needs),
        states(achieves),
        despiteJob.length === 0 ? '-' : states(despiteJob),
      ]),
    ),
  ]);
}

const FINISH_WORDS = {
  confirm: 'Confirm: the VM runs there',
  'resume-source': 'Confirm (cancelled): the source resumes',
  unknown: 'nothing: recovery decides',
  'inspect-again': 'inspect again, for 15 s at most',
};

const GLANCES: [title: string, facts: Pick<OwnershipFacts, 'commitRecord' | 'startReported'>][] = [
  ['The commit record is REVOKED', { commitRecord: 'REVOKED', startReported: false }],
  ['The commit record is COMMITTED', { commitRecord: 'COMMITTED', startReported: false }],
  [
    'The commit record is COMMITTED, and the mover reported that the destination ran the VM',
    { commitRecord: 'COMMITTED', startReported: true },
  ],
];

function glances(): string[] {
  return GLANCES.flatMap(([title, given]) => [
    `### ${title}`,
    markdownTable(
      ['', ...STATES.map(code)],
      STATES.map((source) => [
        code(source),
        ...STATES.map((destination) => {
          const decision = decideFromFacts({
            ...given,
            source,
            destination,
            sourceJob: false,
            operatorDecision: undefined,
          });
          if (decision.kind === 'settle') return `**${decision.owner}**`;
          return decision.kind === 'act' ? code(decision.action) : decision.kind;
        }),
      ]),
    ),
  ]);
}

function recoverySection({ title, when, rules }: (typeof RECOVERY_SECTIONS)[number]): string[] {
  const given = [...conditions(when), ...hostConditions(when)].join('; ');
  return [
    `### ${title}`,
    ...(given === '' ? [] : [`All rules of this section: ${given}.`]),
    markdownTable(
      ['source', 'destination', 'and', 'decision', 'because'],
      rules.map((rule) => [
        states(rule.when.source),
        states(rule.when.destination),
        conditions(rule.when).join('; ') || '-',
        outcome(rule.decision),
        placeholders(rule.why),
      ]),
    ),
  ];
}

const conditions = (when: RecoveryCondition): string[] => [
  ...(when.commitRecord === undefined ? [] : [`the commit record is ${when.commitRecord}`]),
  ...(when.startReported === undefined ? [] : ['the mover reported the start']),
  ...(when.operatorDecision === undefined ? [] : [`an operator named the ${when.operatorDecision}`]),
  ...(when.sourceJob === undefined ? [] : ['libvirt has an active job on the source']),
  ...(when.postCopyHalf === undefined ? [] : ['a host shows a half of a post-copy']),
  ...(when.postCopy === undefined ? [] : [`the post-copy is ${code(when.postCopy)}`]),
];

const hostConditions = (when: RecoveryCondition): string[] =>
  (['source', 'destination'] as const satisfies Role[]).flatMap((role) =>
    when[role] === undefined ? [] : [`the ${role} shows ${states(when[role])}`],
  );

function outcome(decision: RecoveryOutcome): string {
  switch (decision.kind) {
    case 'settle':
      return decision.owner === 'none' ? 'settled: the VM runs nowhere' : `settled: the ${decision.owner} owns the VM`;
    case 'act':
      return `${code(decision.action)} on the ${decision.role}${decision.atOnce === true ? ', at once' : ''}`;
    case 'wait':
      return 'wait, inspect again';
    case 'operator':
      return 'operator';
  }
}

function cleanupRow({
  state,
  commitRecord,
  pendingJob,
  movedOn,
  runsOnDestination,
  decision,
  why,
}: CleanupRule): string[] {
  const shows = [
    states(state),
    ...(pendingJob === undefined ? [] : ["with a job of libvirt's that is expected to end"]),
    ...(commitRecord === undefined ? [] : [`and the commit record is ${commitRecord}`]),
    ...(movedOn === undefined ? [] : ['and a newer migration left the VM elsewhere']),
    ...(runsOnDestination === undefined ? [] : ['and the destination shows it running']),
  ];
  return [shows.join(', '), CLEANUP_WORDS[decision as keyof typeof CLEANUP_WORDS] ?? code(decision), placeholders(why)];
}

const CLEANUP_WORDS = {
  nothing: 'the cleanup is done',
  silent: 'the cleanup stays pending',
  wait: 'wait, inspect again',
  operator: 'operator; the cleanup stays pending',
  'as-recovery': 'resume, or wait, if recovery would; otherwise operator',
};

const states = (list: readonly string[] | undefined): string =>
  list === undefined ? 'any' : list.map(code).join(', ');
const code = (text: string): string => `\`${text}\``;
const placeholders = (why: string): string => why.replace(/\{(\w+)\}/g, '*$1*');
