import type { TopLevelSpec } from 'vega-lite' with { 'resolution-mode': 'import' };

import { Failure } from '../environment/failure';
import { describeVersion } from '../environment/machine';
import { importOptional } from '../environment/optional-packages';
import type { SubjectResult } from '../subjects/subject';
import { limitOf, type CaseResult, type Report } from './result';
import { groupName, groups, microseconds, shapeName } from './table';

type Panel = Extract<TopLevelSpec, { vconcat: unknown[] }>['vconcat'][number];

/** Draws a report as SVG. */
export type DrawChart = (report: Report) => Promise<string>;

/** Loads the chart library. Throws Failure with the install command if it is missing or too old. */
export async function loadChart(): Promise<DrawChart> {
  const load = () => Promise.all([import('vega'), import('vega-lite')]);
  const [vega, vegaLite] = await importOptional(['vega', 'vega-lite'], load, (hint, why) => {
    const which = why.outdated === undefined ? '' : `: ${why.outdated}`;
    const needs = `--plot needs the packages vega and vega-lite${which}.`;
    return new Failure(`${needs} Install them: ${hint}`, why);
  });
  return (report) => {
    if (report.cases.length === 0) throw new Failure('--plot has no times to draw.');
    const { spec } = vegaLite.compile(chartOf(report));
    return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG();
  };
}

/** Visible on white and on black, since the background is transparent. */
const grey = '#808080';
const ourColours = ['#e4572e', '#f3a712', '#c44569'];
const rivalColours = ['#4c9be8', '#2aa876', '#a17fe0', '#9a8f5a', '#6fb7b7', '#c46a9b'];

/** Bars of all times: one panel a shape, below a title for each operation, dtype and cast order. */
function chartOf({ cases, machine, gpus, date }: Report): TopLevelSpec {
  const { cpu, threads } = machine;
  const software = `fused-rmsnorm ${describeVersion(machine)}, ${date.slice(0, 10)}`;
  const used = gpus.filter((gpu) => cases.some(({ device }) => device === gpu.device));
  const hardware = [`${cpu}, ${threads} threads`, ...used.map(({ name }) => name)].join('; ');
  const scale = scaleOf(cases);
  return {
    title: {
      text: 'Time of a call, as a multiple of the limit (log scale): shorter is better',
      subtitle: `${software}: ${hardware}`,
    },
    background: 'transparent',
    vconcat: groups(cases).map((results) => panels(results, scale)),
    spacing: 30,
    config: {
      font: 'sans-serif',
      view: { stroke: 'transparent' },
      title: {
        color: grey,
        subtitleColor: grey,
        anchor: 'start',
        fontWeight: 'normal',
        offset: 14,
      },
      header: { labelColor: grey, titleColor: grey },
      axis: {
        ...{ domainColor: grey, gridColor: grey, gridOpacity: 0.2, tickColor: grey },
        ...{ labelColor: grey, titleColor: grey, titleFontWeight: 'normal' },
      },
    },
  };
}

/** Without plans, LayerNorm, and rivals that allocate results although they need not. */
function subjectsOf(result: CaseResult): SubjectResult[] {
  const subjects = result.subjects.filter(
    ({ name, role, computes }) =>
      computes === 'rms-norm' &&
      name !== 'ours plan' &&
      !(role === 'rival' && name.endsWith(' fresh')),
  );
  return [...subjects, limitOf(result)];
}

/** The name of a subject in the chart. */
function chartName({ name, role }: SubjectResult): string {
  return role === 'limit' ? 'limit' : name.replace(/^ours/, 'fused-rmsnorm');
}

/** The names of all subjects, with a colour for each. */
function scaleOf(cases: readonly CaseResult[]): { domain: string[]; range: string[] } {
  const subjects = cases.flatMap(subjectsOf);
  const namesOf = (wanted: SubjectResult['role']) => [
    ...new Set(subjects.filter(({ role }) => role === wanted).map(chartName)),
  ];
  const [ours, rivals] = [namesOf('ours'), namesOf('rival')];
  const colour = (colours: readonly string[]) => (_: string, i: number) =>
    colours[i % colours.length] as string;
  return {
    domain: [...ours, 'limit', ...rivals],
    range: [...ours.map(colour(ourColours)), grey, ...rivals.map(colour(rivalColours))],
  };
}

function timeText(nanoseconds: number): string {
  const isLong = nanoseconds >= 1e6;
  return isLong ? `${microseconds(nanoseconds / 1000)} ms` : `${microseconds(nanoseconds)} µs`;
}

/** One panel of bars for each shape. Bars begin at the limit, with their times beside them. */
function panels(results: readonly CaseResult[], scale: ReturnType<typeof scaleOf>): Panel {
  const values = results.flatMap((result) => {
    const limit = limitOf(result).time.median;
    return subjectsOf(result).map((subject) => ({
      shape: shapeName(result),
      subject: chartName(subject),
      multiple: subject.time.median / limit,
      time: timeText(subject.time.median),
    }));
  });
  const drawn = scale.domain.filter((name) => values.some(({ subject }) => subject === name));
  const x = {
    field: 'multiple',
    type: 'quantitative' as const,
    scale: { type: 'log' as const },
    title: 'times the limit',
    axis: { values: [0.1, 1, 10, 100, 1000, 10_000], format: '~g' },
  };
  return {
    title: groupName(results[0] as CaseResult),
    data: { values },
    facet: { field: 'shape', type: 'nominal', sort: results.map(shapeName), title: null },
    columns: 4,
    // Only the axes determine the layout: times beside the longest bars extend into the spacing.
    bounds: 'flush',
    spacing: { row: 36, column: 40 },
    spec: {
      width: 140,
      height: { step: 15 },
      encoding: { y: { field: 'subject', type: 'nominal', sort: drawn, title: null } },
      layer: [
        {
          mark: { type: 'bar' },
          encoding: {
            ...{ x, x2: { datum: 1 } },
            color: { field: 'subject', type: 'nominal', scale, legend: null },
          },
        },
        {
          mark: { type: 'text', color: grey, align: 'left', dx: 3 },
          encoding: { x, text: { field: 'time', type: 'nominal' } },
        },
      ],
    },
  };
}
