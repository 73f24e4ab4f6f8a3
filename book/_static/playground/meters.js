/* How far what a generator makes is from what it should make: the measures of gan_helpers.metrics and
   gan_helpers.mode_metrics, the same of real samples as a floor, and what counts as a success. */
Playground.define("meters", ["numbers", "data"], (numbers, data) => {
  "use strict";
  const { Stream, quantile } = numbers;

  const SAMPLES = 2500; // as in the paper that counts modes
  const PAIRED = 200; // samples that are paired with as many real ones, which takes time of the order of n^3
  const FLOORS = 11; // real samples whose median is the floor

  /**
   * The moments of a sample, all divided by n: mean, standard deviation, skewness, excess kurtosis.
   * @param {ArrayLike<number>} x
   * @returns {{mean: number, sd: number, skewness: number, kurtosis: number}}
   */
  function moments(x) {
    const n = x.length;
    let mean = 0;
    for (let i = 0; i < n; i++) mean += x[i] / n;
    let [m2, m3, m4] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const c = x[i] - mean;
      m2 += (c * c) / n;
      m3 += (c * c * c) / n;
      m4 += (c * c * c * c) / n;
    }
    if (m2 <= (n * Number.EPSILON * mean) ** 2) [m2, m3, m4] = [0, 0, 0]; // equal numbers have no spread
    return { mean, sd: Math.sqrt(m2), skewness: m3 / m2 ** 1.5, kurtosis: m4 / m2 ** 2 - 3 };
  }

  /**
   * The 1-Wasserstein distance of a sample from the n points that stand for a normal law best.
   * @param {ArrayLike<number>} x
   * @param {{mean: number, sd: number}} law
   * @returns {number}
   */
  function w1(x, law) {
    const sorted = Float64Array.from(x).sort();
    const n = sorted.length;
    return sorted.reduce((sum, v, i) => sum + Math.abs(v - law.mean - law.sd * quantile((i + 0.5) / n)) / n, 0);
  }

  /**
   * The 1-Wasserstein distance of two samples of one size, exactly: the shortest way to pair them.
   * By shortest augmenting paths; Jonker and Volgenant (1987), https://doi.org/10.1007/BF02278710
   * @param {Float32Array} x one sample after the other
   * @param {Float32Array} y
   * @param {number} features
   * @returns {number}
   */
  function w1Points(x, y, features) {
    if (!x.every(Number.isFinite)) return NaN; // a run that came apart
    const n = x.length / features;
    const cost = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let square = 0;
        for (let f = 0; f < features; f++) square += (x[i * features + f] - y[j * features + f]) ** 2;
        cost[i * n + j] = Math.sqrt(square);
      }
    }
    const rowOf = new Int32Array(n).fill(-1); // whom each column is paired with
    const columnOf = new Int32Array(n).fill(-1);
    const [u, v] = [new Float64Array(n), new Float64Array(n)]; // prices of rows and columns
    const [far, before] = [new Float64Array(n), new Int32Array(n)]; // the way to each column, and its last row
    const left = new Int32Array(n); // columns whose way is not known yet
    const pair = (/** @type {number} */ i, /** @type {number} */ j) => {
      if (rowOf[j] >= 0 || columnOf[i] >= 0) return;
      rowOf[j] = i;
      columnOf[i] = j;
    };
    // Most find a partner at once: each column the row that is nearest, and each row the cheapest column.
    for (let j = 0; j < n; j++) {
      let nearest = 0;
      for (let i = 1; i < n; i++) if (cost[i * n + j] < cost[nearest * n + j]) nearest = i;
      v[j] = cost[nearest * n + j];
      pair(nearest, j);
    }
    for (let i = 0; i < n; i++) {
      if (columnOf[i] >= 0) continue;
      let cheapest = 0;
      for (let j = 1; j < n; j++) if (cost[i * n + j] - v[j] < cost[i * n + cheapest] - v[cheapest]) cheapest = j;
      u[i] = cost[i * n + cheapest] - v[cheapest];
      pair(i, cheapest);
    }
    for (let row = 0; row < n; row++) {
      if (columnOf[row] >= 0) continue;
      far.fill(Infinity);
      for (let j = 0; j < n; j++) left[j] = j;
      let [many, from, gone, end] = [n, row, 0, -1];
      while (end < 0) {
        let [nearest, which] = [Infinity, -1];
        const base = gone - u[from];
        for (let k = 0; k < many; k++) {
          const j = left[k];
          const way = base + cost[from * n + j] - v[j];
          if (way < far[j]) {
            far[j] = way;
            before[j] = from;
          }
          if (far[j] < nearest || (far[j] === nearest && rowOf[j] < 0)) {
            nearest = far[j];
            which = k;
          }
        }
        const j = left[which];
        many -= 1;
        left[which] = left[many];
        left[many] = j; // behind those that are left stand those that are done
        gone = nearest;
        if (rowOf[j] < 0) end = j;
        else from = rowOf[j];
      }
      u[row] += gone;
      for (let k = many; k < n; k++) {
        const j = left[k];
        if (rowOf[j] >= 0) u[rowOf[j]] += gone - far[j];
        v[j] -= gone - far[j];
      }
      for (let j = end, next; j >= 0; j = next) {
        const i = before[j];
        next = i === row ? -1 : columnOf[i];
        rowOf[j] = i;
        columnOf[i] = j;
      }
    }
    let sum = 0;
    for (let i = 0; i < n; i++) sum += cost[i * n + columnOf[i]];
    return sum / n;
  }

  /**
   * How many modes of a mixture have a sample closer than three standard deviations, what share of the samples
   * is that close, and how unevenly these are spread, in nats.
   * @param {Float32Array} x one sample after the other
   * @param {number[][]} modes
   * @param {number} sd of each
   * @returns {{modes: number, high: number, klReverse: number, each: number[]}}
   */
  function countModes(x, modes, sd) {
    const [features, n] = [modes[0].length, x.length / modes[0].length];
    const each = modes.map(() => 0);
    for (let k = 0; k < n; k++) {
      let [nearest, which] = [Infinity, 0];
      modes.forEach((centre, i) => {
        let square = 0;
        for (let f = 0; f < features; f++) square += (x[k * features + f] - centre[f]) ** 2;
        if (square < nearest) [nearest, which] = [square, i];
      });
      if (Math.sqrt(nearest) < 3 * sd) each[which] += 1;
    }
    const good = each.reduce((sum, count) => sum + count, 0);
    const most = Math.log(modes.length);
    const spread = each.reduce((sum, count) => sum + (count ? (count / good) * Math.log(count / good) : 0), 0);
    return {
      modes: each.filter((count) => count > 0).length, high: good / n, klReverse: good ? most + spread : most, each,
    };
  }

  /**
   * The Gaussian closest to a sample in two dimensions, which divides by n.
   * @param {Float32Array} x one sample after the other
   * @returns {Normal2}
   */
  function fitGaussian(x) {
    const n = x.length / 2;
    const mean = [0, 0];
    x.forEach((v, i) => { mean[i % 2] += v / n; });
    let [xx, xy, yy] = [0, 0, 0];
    for (let k = 0; k < n; k++) {
      const [a, b] = [x[2 * k] - mean[0], x[2 * k + 1] - mean[1]];
      xx += (a * a) / n;
      xy += (a * b) / n;
      yy += (b * b) / n;
    }
    return { mean, covariance: [[xx, xy], [xy, yy]] };
  }

  /**
   * The 2-Wasserstein distance of two Gaussians in two dimensions, in its form with an orthogonal U that does
   * not cancel. Bhatia, Jain and Lim (2019), https://arxiv.org/abs/1712.01504
   * @param {Normal2} p
   * @param {Normal2} q
   * @returns {number}
   */
  function w2Gaussian(p, q) {
    const [[a, b], [, d]] = root(p.covariance);
    const [[e, f], [, h]] = root(q.covariance);
    // R = root(q) root(p). The U nearest to it is a rotation if its determinant is not negative, as here.
    const [c1, s1] = [e * a + f * b + f * b + h * d, f * a + h * b - e * b - f * d];
    const size = Math.hypot(c1, s1);
    const [c, s] = size > 0 ? [c1 / size, s1 / size] : [1, 0];
    const gap = [a - (e * c + f * s), b - (-e * s + f * c), b - (f * c + h * s), d - (-f * s + h * c)];
    return Math.hypot(p.mean[0] - q.mean[0], p.mean[1] - q.mean[1], ...gap);
  }

  /** The symmetric root of a covariance. @param {number[][]} covariance @returns {number[][]} */
  function root([[xx, xy], [, yy]]) {
    const det = Math.sqrt(Math.max(0, xx * yy - xy * xy));
    const trace = Math.sqrt(xx + yy + 2 * det) || 1;
    return [[(xx + det) / trace, xy / trace], [xy / trace, (yy + det) / trace]];
  }

  /**
   * What is measured of each law: by name, and by which of it a run is judged.
   * @param {Settings} settings
   * @returns {{law: Law, headline: string}}
   */
  function judged(settings) {
    const law = data.of(settings);
    if (settings.data === "dirac") return { law, headline: "distance" };
    if (law.modes) return { law, headline: "modes" };
    return { law, headline: law.gaussian ? "w2" : "w1" };
  }

  /** The samples that are enough for all measures. @param {Settings} settings @returns {number} */
  const needed = (settings) => (settings.data === "dirac" ? 1 : data.of(settings).features === 1 ? 1000 : SAMPLES);

  /**
   * Measure a sample.
   * @param {Float32Array} x `needed` samples, one after the other
   * @param {Law} law what they should follow
   * @param {boolean} [all] also what takes long and is not what a run is judged by
   * @returns {Meters}
   */
  function measure(x, law, all = true) {
    if (law.features === 1) return { w1: w1(x, law), ...moments(x) };
    const of = [0, 1].map((f) => moments(x.filter((_, i) => i % 2 === f)));
    const [mean, sd] = [of.map((m) => m.mean), of.map((m) => m.sd)];
    const [some, real] = [x, law.points].map((points) => points.subarray(0, 2 * PAIRED));
    const far = all || !(law.modes || law.gaussian) ? { w1: w1Points(some, real, 2) } : {};
    const modes = law.modes ? countModes(x, law.modes, law.sd) : {};
    const w2 = law.gaussian ? { w2: w2Gaussian(fitGaussian(x), law.gaussian) } : {};
    return { ...w2, ...modes, ...far, mean, sd };
  }

  /** What is known of real samples, by what they are drawn from. @type {Map<string, {floor: Meters, worst: Meters}>} */
  const known = new Map();

  /**
   * What real samples of the same size have: the median of several.
   * @param {Settings} settings
   * @returns {Meters}
   */
  const floor = (settings) => ofReal(settings).floor;

  /** @param {Settings} settings @returns {{floor: Meters, worst: Meters}} */
  function ofReal(settings) {
    if (settings.data === "dirac") return { floor: { distance: 0, theta: 0, psi: 0 }, worst: {} };
    const key = JSON.stringify([settings.data, settings.features, settings.strokes]);
    const before = known.get(key);
    if (before) return before;
    const [law, stream] = [data.of(settings), new Stream(0, 0, "floor")];
    const all = Array.from({ length: FLOORS }, (_, i) => measure(law.sample(needed(settings), stream, i), law));
    /** @type {(values: any[], rank: number) => any} */
    const ranked = (values, rank) =>
      Array.isArray(values[0])
        ? values[0].map((_, /** @type {number} */ f) => ranked(values.map((v) => v[f]), rank))
        : [...values].sort((a, b) => a - b)[rank];
    const at = (/** @type {number} */ rank) =>
      Object.fromEntries(Object.keys(all[0]).map((name) => [name, ranked(all.map((m) => m[name]), rank)]));
    const found = { floor: at((FLOORS - 1) / 2), worst: at(FLOORS - 1) };
    known.set(key, found);
    return found;
  }

  const BLOCK = 0.193; // W1 of a block of the bell's mean and width: it has learned no more than these
  const LINE = 0.308; // W2 of the line without width that is closest to the tilted bell

  /**
   * What a run is judged by, and when it is a success.
   * @param {Settings} settings
   * @returns {Rule}
   */
  function rule(settings) {
    const { law, headline: key } = judged(settings);
    const { floor: { [key]: least }, worst } = ofReal(settings);
    const rest = { key, floor: least, more: false };
    if (settings.data === "dirac") {
      return {
        ...rest, name: "distance", most: 0.1, range: [0, 2], good: (m) => m.distance < 0.1,
        words: "comes home: it is within 0.1 of rest", many: "come home: they are within 0.1 of rest",
      };
    }
    if (law.modes) {
      const all = law.modes.length;
      return {
        ...rest, name: "modes found", more: true, most: null, range: [0, all],
        good: (m) => m.modes === all && m.high >= 0.5,
        words: `finds all ${all} heaps, with half of its samples on them`,
        many: `find all ${all} heaps, with half of their samples on them`,
      };
    }
    const [most, why] = law.gaussian
      ? [LINE, settings.data === "tilted" ? ": less than a line without width has" : ""]
      : law.features === 1 ? [BLOCK, ": less than a flat block as wide as the bell has"]
        : [Math.max(2 * least, 1.5 * worst[key]), ": not far from that of real samples"];
    const name = law.gaussian ? "W2" : "W1";
    const [words, many] = ["has", "have"].map((verb) => `${verb} a ${name} below ${most.toFixed(3)}${why}`);
    return { ...rest, name, most, words, many, range: [0, Math.max(2, 4 * most)], good: (m) => m[key] < most };
  }

  return { moments, w1, w1Points, countModes, fitGaussian, w2Gaussian, needed, measure, floor, rule };
});
