// The pulse of the database: a chart of its transactions and of their lag, as they come.
import uPlot from 'uplot';
import { Beats, SPAN } from './beats.js';
import { element, text } from './dom.js';
import { elapsed, number } from './format.js';

const HEIGHT = 84;
/** Seconds that the figures beside the chart are of. */
const RECENT = 60;

export class Pulse {
  #db;
  #beats = new Beats();
  #chart;
  #moved = ({ detail }) => {
    if (!detail) return;
    this.#beats.moved(detail);
    this.#draw();
  };

  constructor() {
    const box = element('pulse-chart');
    new ResizeObserver(() => this.#chart?.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
    // Colours are drawn, not styled.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#make());
    setInterval(() => this.#second(), 1000);
  }

  open(db) {
    this.close();
    this.#db = db;
    this.#beats.start(db.position);
    db.addEventListener('position', this.#moved);
    this.#make();
  }

  close() {
    this.#db?.removeEventListener('position', this.#moved);
    this.#db = undefined;
  }

  #second() {
    if (!this.#db || document.hidden) return;
    if (this.#db.following) this.#beats.silent(this.#db.following.lag);
    this.#draw();
  }

  #make() {
    this.#chart?.destroy();
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: colour('--soft'), font: '11px system-ui, sans-serif', grid: { show: false }, ticks: { show: false } };
    const box = element('pulse-chart');
    this.#chart = new uPlot(
      {
        width: box.clientWidth,
        height: HEIGHT,
        padding: [6, 0, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: true }, tx: { range: (_, __, most) => [0, Math.max(4, most)] }, ms: { range: (_, __, most) => [0, Math.max(50, most * 1.1)] } },
        axes: [
          { ...axis, size: 20, space: 70, values: (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })) },
          { ...axis, scale: 'tx', size: 34, space: 24, values: (_, values) => values.map((value) => (Number.isInteger(value) ? number(value) : '')) },
          { ...axis, scale: 'ms', side: 1, size: 56, space: 24, values: (_, values) => values.map((value) => (value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(0)} s`)) },
        ],
        series: [
          {},
          { scale: 'tx', stroke: colour('--sea-2'), fill: colour('--sea-2'), paths: uPlot.paths.bars({ size: [0.7, 8] }), points: { show: false } },
          { scale: 'ms', stroke: colour('--buoy'), width: 1.5, spanGaps: true, points: { show: true, size: 4, fill: colour('--buoy') } },
        ],
      },
      this.#beats.columns(),
      box,
    );
  }

  #draw() {
    if (!this.#chart) return;
    const columns = this.#beats.columns();
    this.#chart.setData(columns);
    const recent = columns.map((column) => column.slice(SPAN - RECENT));
    const transactions = recent[1].reduce((sum, count) => sum + count, 0);
    const lags = recent[2].filter((lag) => lag !== null).sort((a, b) => a - b);
    text('pulse-tx', number(transactions));
    text('pulse-lag', lags.length ? elapsed(lags[Math.floor((lags.length - 1) / 2)]) : '–');
    element('pulse-chart').setAttribute('aria-label', `Chart of the last ${SPAN / 60} minutes: ${transactions} transactions in the last minute${lags.length ? `, lag at most ${elapsed(lags.at(-1))}` : ''}.`);
  }
}
