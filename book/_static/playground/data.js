/* What the generators learn: laws in one dimension and two, as gan_helpers.data has them, and the reader's own. */
Playground.define("data", ["numbers"], (numbers) => {
  "use strict";
  const { Stream } = numbers;

  /**
   * A law.
   * @typedef {object} Law
   * @property {number} features
   * @property {number[]} view [x0, x1, y0, y1] of a window that shows it
   * @property {number[][]|null} modes the heaps of a mixture
   * @property {number} sd of a heap, or of the law on the line
   * @property {number} mean of the law on the line
   * @property {{mean: number[], covariance: number[][]}|null} gaussian
   * @property {(out: Float64Array, columns: number, n: number, stream: Stream, place: number) => void} fill
   *   writes n samples, feature by feature
   * @property {(n: number, stream: Stream, place: number) => Float32Array} sample returns n samples, one by one
   * @property {Float32Array} points 600 samples, always the same
   */

  /** What draws one sample: z has a normal number for each feature and u two uniform ones. */
  /** @typedef {(z: number[], u: number[]) => number[]} Draw */

  const A = [[1, 2], [-0.1, 0.5]]; // a row of N(0, I) times this, plus B
  const B = [1, 2];
  const SIDE = 5;
  const ring = Array.from({ length: 8 }, (_, k) => [Math.cos((Math.PI * k) / 4), Math.sin((Math.PI * k) / 4)]);
  const line = Array.from({ length: SIDE }, (_, k) => 0.7 * (k - (SIDE - 1) / 2));
  const grid = line.flatMap((x) => line.map((y) => [x, y]));
  const HEAP = 0.05; // the standard deviation of each heap; the chapter's are narrower, and take longer
  const STROKE = 0.04; // how wide the reader's strokes are
  const MOON = 0.1;

  /** @param {number[][]} modes @param {number} sd @param {number} end @returns {Law} */
  const mixture = (modes, sd, end) =>
    law(2, [-end, end, -end, end], (z, u) => around(modes, sd, z, u), { modes, sd });

  /** @type {(centres: number[][], sd: number, z: number[], u: number[]) => number[]} */
  const around = (centres, sd, z, [u]) => centres[Math.floor(u * centres.length)].map((c, f) => c + sd * z[f]);

  /** @type {Draw} */
  function moons([z0, z1], [u, v]) {
    const [x, y] = [Math.cos(Math.PI * u) - 0.5, Math.sin(Math.PI * u) - 0.25];
    const side = v < 0.5 ? 1 : -1;
    return [side * x + MOON * z0, side * y + MOON * z1];
  }

  /**
   * @param {number} features
   * @param {number[]} view
   * @param {Draw} draw
   * @param {Partial<Law>} [facts]
   * @returns {Law}
   */
  function law(features, view, draw, facts = {}) {
    /** @type {Law["fill"]} */
    function fill(out, columns, n, stream, place) {
      const normal = stream.normal(new Float32Array(n * features), place, 0);
      const uniform = stream.uniform(new Float32Array(n * 2), place, 1);
      for (let k = 0; k < n; k++) {
        const z = Array.from(normal.subarray(k * features, (k + 1) * features));
        draw(z, [uniform[2 * k], uniform[2 * k + 1]]).forEach((x, f) => { out[f * columns + k] = x; });
      }
    }

    /** @type {Law["sample"]} */
    function sample(n, stream, place) {
      const byFeature = new Float64Array(n * features);
      fill(byFeature, n, n, stream, place);
      return Float32Array.from(byFeature, (_, i) => byFeature[(i % features) * n + Math.floor(i / features)]);
    }

    const points = sample(600, new Stream(0, 0, "real"), 0);
    return { features, view, modes: null, sd: NaN, mean: NaN, gaussian: null, ...facts, fill, sample, points };
  }

  /** @type {Record<string, (settings: any) => Law>} */
  const LAWS = {
    bell({ features }) {
      if (features === 1) return law(1, [-2, 10, 0, 1], ([z]) => [4 + 1.25 * z], { mean: 4, sd: 1.25 });
      const gaussian = { mean: [2, 1], covariance: [[1, 0], [0, 1]] };
      return law(2, [-2, 6, -3, 5], ([z0, z1]) => [2 + z0, 1 + z1], { gaussian });
    },
    tilted() {
      const along = (/** @type {number} */ i, /** @type {number} */ j) => A[0][i] * A[0][j] + A[1][i] * A[1][j];
      const gaussian = { mean: B, covariance: [[along(0, 0), along(0, 1)], [along(1, 0), along(1, 1)]] };
      const draw = (/** @type {number[]} */ z) =>
        [0, 1].map((f) => z[0] * A[0][f] + z[1] * A[1][f] + B[f]);
      return law(2, [-6, 8, -5, 9], draw, { gaussian });
    },
    ring: () => mixture(ring, HEAP, 1.6),
    grid: () => mixture(grid, HEAP, 2),
    moons: () => law(2, [-2, 2, -2, 2], moons),
    strokes({ strokes }) {
      if (!strokes?.length) throw new RangeError("There is no stroke to learn: draw one first.");
      return law(2, [-2, 2, -2, 2], (z, u) => around(strokes, STROKE, z, u));
    },
    dirac: () => law(1, [-2, 2, -2, 2], () => [0], { mean: 0, sd: 0 }),
  };

  /**
   * Return the law of some settings.
   * @param {{data: string, features?: number, strokes?: number[][]}} settings
   * @returns {Law}
   */
  function of(settings) {
    const make = LAWS[settings.data];
    if (!make) throw new RangeError(`data must be one of ${Object.keys(LAWS).join(", ")}, not ${settings.data}.`);
    return make(settings);
  }

  return { of, NAMES: Object.keys(LAWS), STROKE, MOON };
});
