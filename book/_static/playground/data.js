/* What the generators learn: laws in one dimension and two, as gan_helpers.data has them, and the reader's own. */
Playground.define("data", ["numbers"], (numbers) => {
  "use strict";
  const { Stream } = numbers;

  /** What draws one sample: z has a normal number for each feature and u two uniform ones. */
  /** @typedef {(z: Float64Array, u: Float64Array, x: number[]) => void} Draw it writes x */

  const SIDE = 5;
  const ring = Array.from({ length: 8 }, (_, k) => [Math.cos((Math.PI * k) / 4), Math.sin((Math.PI * k) / 4)]);
  const line = Array.from({ length: SIDE }, (_, k) => 0.7 * (k - (SIDE - 1) / 2));
  const grid = line.flatMap((x) => line.map((y) => [x, y]));
  const HEAP = 0.05; // the standard deviation of each heap; the chapter's are narrower, and take longer
  const STROKE = 0.04; // how wide the reader's strokes are
  const MOON = 0.1;

  /** @param {number[][]} modes @param {number} sd @param {number} end @returns {Law} */
  const mixture = (modes, sd, end) =>
    law(2, [-end, end, -end, end], around(modes, sd), { modes, sd });

  /** @type {(centres: number[][], sd: number) => Draw} */
  const around = (centres, sd) => (z, u, x) => {
    const centre = centres[Math.floor(u[0] * centres.length)];
    x[0] = centre[0] + sd * z[0];
    x[1] = centre[1] + sd * z[1];
  };

  /** @type {Draw} */
  function moons(z, u, x) {
    const side = u[1] < 0.5 ? 1 : -1;
    x[0] = side * (Math.cos(Math.PI * u[0]) - 0.5) + MOON * z[0];
    x[1] = side * (Math.sin(Math.PI * u[0]) - 0.25) + MOON * z[1];
  }

  /**
   * The law of z A + b, for a row z of N(0, I).
   * @param {number[][]} A
   * @param {number[]} b
   * @param {number[]} view
   * @returns {Law}
   */
  function linear(A, b, view) {
    /** @type {Draw} */
    const draw = (z, _, x) => {
      x[0] = z[0] * A[0][0] + z[1] * A[1][0] + b[0];
      x[1] = z[0] * A[0][1] + z[1] * A[1][1] + b[1];
    };
    return law(2, view, draw);
  }

  /**
   * @param {number} features
   * @param {number[]} view
   * @param {Draw} draw
   * @param {Partial<Law>} [facts]
   * @returns {Law}
   */
  function law(features, view, draw, facts = {}) {
    const z = new Float64Array(2);
    const u = new Float64Array(2);
    const x = [0, 0];

    /** @type {Law["fill"]} */
    function fill(out, columns, n, stream, place) {
      const normal = stream.normal(new Float64Array(n * features), place, 0);
      const uniform = stream.uniform(new Float64Array(n * 2), place, 1);
      for (let k = 0; k < n; k++) {
        for (let f = 0; f < features; f++) z[f] = normal[k * features + f];
        u[0] = uniform[2 * k];
        u[1] = uniform[2 * k + 1];
        draw(z, u, x);
        for (let f = 0; f < features; f++) out[f * columns + k] = x[f];
      }
    }

    /** @type {Law["sample"]} */
    function sample(n, stream, place) {
      const byFeature = new Float64Array(n * features);
      fill(byFeature, n, n, stream, place);
      return Float32Array.from(byFeature, (_, i) => byFeature[(i % features) * n + Math.floor(i / features)]);
    }

    const points = sample(600, new Stream(0, 0, "real"), 0);
    return { features, view, modes: null, sd: NaN, mean: NaN, ...facts, fill, sample, points };
  }

  /** @type {Record<string, (settings: Partial<Settings>) => Law>} */
  const LAWS = {
    bell({ features }) {
      if (features === 1) {
        return law(1, [-2, 10, 0, 1], (z, _, x) => { x[0] = 4 + 1.25 * z[0]; }, { mean: 4, sd: 1.25 });
      }
      return linear([[1, 0], [0, 1]], [2, 1], [-2, 6, -3, 5]);
    },
    tilted: () => linear([[1, 2], [-0.1, 0.5]], [1, 2], [-6, 8, -5, 9]),
    ring: () => mixture(ring, HEAP, 1.6),
    grid: () => mixture(grid, HEAP, 2),
    moons: () => law(2, [-2, 2, -2, 2], moons),
    strokes({ strokes }) {
      if (!strokes?.length) throw new RangeError("There is no stroke to learn: draw one first.");
      return law(2, [-2, 2, -2, 2], around(strokes, STROKE));
    },
    dirac: () => law(1, [-2, 2, -2, 2], (_, __, x) => { x[0] = 0; }, { mean: 0, sd: 0 }),
  };

  let last = { key: "", law: /** @type {Law|null} */ (null) }; // games of one kind share it

  /**
   * Return the law of some settings.
   * @param {Pick<Settings, "data"> & Partial<Settings>} settings
   * @returns {Law}
   */
  function of(settings) {
    const make = LAWS[settings.data];
    if (!make) throw new RangeError(`data must be one of ${Object.keys(LAWS).join(", ")}, not ${settings.data}.`);
    const key = JSON.stringify([settings.data, settings.features, settings.strokes]);
    if (last.key !== key) last = { key, law: make(settings) };
    return /** @type {Law} */ (last.law);
  }

  return { of, STROKE, MOON };
});
