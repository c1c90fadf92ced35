import type { TopLevelSpec } from 'vega-lite' with { 'resolution-mode': 'import' };

import { Failure } from '../environment/failure';
import { describeVersion } from '../environment/machine';
import { importOptional } from '../environment/optional-packages';
import type { SubjectResult } from '../subjects/subject';
import { gbPerSecond, limitOf, oursOf, shareOfLimit, type CaseResult, type Report } from './result';
import { groups, shapeName } from './table';

type Panel = Extract<TopLevelSpec, { hconcat: unknown[] }>['hconcat'][number];

/** Draws a report as SVG. */
export type DrawChart = (report: Report) => Promise<string>;

/** Loads what draws. Throws Failure, saying what to install, where it is missing or too old. */
export async function loadChart(): Promise<DrawChart> {
  const load = () => Promise.all([import('vega'), import('vega-lite')]);
  const [vega, vegaLite] = await importOptional(['vega', 'vega-lite'], load, (hint, why) => {
    const which = why.outdated === undefined ? '' : `: ${why.outdated}`;
    const needs = `--plot needs the packages vega and vega-lite${which}.`;
    return new Failure(`${needs} Install them: ${hint}`, why);
  });
  return (report) => {
    if (report.cases.length === 0) throw new Failure('--plot: there are no times to draw.');
    const { spec } = vegaLite.compile(chartOf(report));
    return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG();
  };
}

/** Seen on white and on black: of medium lightness, with nothing behind it. */
const grey = '#808080';
const ourColours = ['#e4572e', '#f3a712', '#c44569'];
const rivalColours = ['#4c9be8', '#2aa876', '#a17fe0', '#9a8f5a', '#6fb7b7', '#c46a9b'];

/** Of each device, operation and dtype a row: bandwidths by shape, and ours as shares of the limit. */
function chartOf({ cases, machine, gpus, date }: Report): TopLevelSpec {
  const { cpu, threads } = machine;
  const software = `fused-rmsnorm ${describeVersion(machine)}, ${date.slice(0, 10)}`;
  const drawn = gpus.filter((gpu) => cases.some(({ device }) => device === gpu.device));
  const hardware = [`${cpu}, ${threads} threads`, ...drawn.map(({ name }) => name)].join('; ');
  const scale = scaleOf(cases);
  return {
    title: { text: `${software}: ${hardware}`, fontSize: 11, offset: 14 },
    background: 'transparent',
    vconcat: groups(cases).map((results) => {
      const [{ op, dtype, device }] = results as [CaseResult, ...CaseResult[]];
      return {
        title: `${op}, ${dtype}, ${device}`,
        hconcat: [bandwidths(results, scale), shares(results)],
      };
    }),
    config: {
      font: 'sans-serif',
      view: { stroke: 'transparent' },
      title: { color: grey, anchor: 'start', fontWeight: 'normal' },
      axis: {
        ...{ domainColor: grey, gridColor: grey, gridOpacity: 0.2, tickColor: grey },
        ...{ labelColor: grey, titleColor: grey, titleFontWeight: 'normal' },
      },
      legend: { labelColor: grey },
    },
  };
}

/** Without plans, LayerNorm, and what makes memory for its results without need. */
function subjectsOf(result: CaseResult): SubjectResult[] {
  const subjects = result.subjects.filter(
    ({ name, role, computes }) =>
      computes === 'rms-norm' &&
      name !== 'ours plan' &&
      !(role === 'rival' && name.endsWith(' fresh')),
  );
  return [...subjects, limitOf(result)];
}

/** What a subject is called in the chart. */
function chartName({ name, role }: SubjectResult): string {
  return role === 'limit' ? 'limit' : name.replace(/^ours/, 'fused-rmsnorm');
}

/** The names of all subjects, and a colour for each. */
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

/** Shapes in the order of the results. */
function shapeAxis(results: readonly CaseResult[]) {
  return {
    field: 'shape',
    type: 'ordinal',
    sort: results.map(shapeName),
    title: null,
    axis: { labelAngle: -45 },
  } as const;
}

function bandwidths(results: readonly CaseResult[], scale: ReturnType<typeof scaleOf>): Panel {
  const values = results.flatMap((result) =>
    subjectsOf(result).map((subject) => ({
      shape: shapeName(result),
      subject: chartName(subject),
      gbPerSecond: gbPerSecond(result, subject),
    })),
  );
  return {
    width: 430,
    height: 260,
    data: { values },
    mark: { type: 'line', point: { filled: true, size: 40 }, strokeOpacity: 0.5 },
    encoding: {
      x: shapeAxis(results),
      y: {
        field: 'gbPerSecond',
        type: 'quantitative',
        scale: { type: 'log' },
        title: 'GB/s of minimum traffic',
        axis: { values: [0.01, 0.1, 1, 10, 100, 1000, 10_000] },
      },
      color: { field: 'subject', type: 'nominal', title: null, scale, legend: { orient: 'left' } },
    },
  };
}

function shares(results: readonly CaseResult[]): Panel {
  const values = results.map((result) => ({
    shape: shapeName(result),
    share: shareOfLimit(result, oursOf(result)),
  }));
  return {
    width: 260,
    height: 260,
    data: { values },
    encoding: {
      x: shapeAxis(results),
      y: {
        field: 'share',
        type: 'quantitative',
        title: 'fused-rmsnorm, share of the limit',
        scale: { domainMin: 0, domainMax: Math.max(1, ...values.map(({ share }) => share)) },
        axis: { format: '.0%' },
      },
    },
    layer: [
      { mark: { type: 'bar', color: ourColours[0] as string } },
      {
        mark: { type: 'text', color: grey, dy: -6 },
        encoding: { text: { field: 'share', type: 'quantitative', format: '.0%' } },
      },
    ],
  };
}
