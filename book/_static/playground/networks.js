/* Perceptrons, and their derivatives written out: in the weights, in the input, and those of the input's
   derivative in the weights, which a penalty on D's slope needs. */
Playground.define("networks", ["kernels"], (kernels) => {
  "use strict";

  /**
   * An activation by its output y: its value, its slope, and how the slope changes with the input.
   * @type {Record<string, {of: (z: number) => number, slope: (y: number) => number,
   *   bend: null|((y: number) => number)}>}
   */
  const ACTIVATIONS = {
    relu: { of: (z) => (z > 0 ? z : 0), slope: (y) => (y > 0 ? 1 : 0), bend: null },
    leaky_relu: { of: (z) => (z > 0 ? z : 0.2 * z), slope: (y) => (y > 0 ? 1 : 0.2), bend: null },
    tanh: { of: Math.tanh, slope: (y) => 1 - y * y, bend: (y) => -2 * y * (1 - y * y) },
  };

  /** A linear map of a network; all are views of the network's numbers. */
  /** @typedef {{from: number, to: number, w: Float32Array, b: Float32Array|null,
   *   dw: Float32Array, db: Float32Array|null}} Layer */

  /**
   * What one batch leaves behind on its way through a network.
   * @typedef {object} Pass
   * @property {number} columns
   * @property {Float32Array[]} y the input, and the output of each layer
   * @property {Float32Array[]} back the derivative in each of these, of what is descended
   * @property {Float32Array[]} slope the derivative of the output in each of these
   * @property {Float32Array[]} inner that of the output in what enters the activation, by layer
   * @property {Float32Array[]} push the derivatives of the penalty in `slope`
   * @property {Float32Array[]} bent what the penalty adds to the derivatives of what enters the activation
   */

  /** A perceptron: linear maps with an activation between each two. */
  class Network {
    /**
     * @param {number[]} sizes features of the input, of each hidden layer and of the output
     * @param {string} activation one of ACTIVATIONS
     * @param {import("./kernels").Kernels} made
     * @param {boolean} [biases]
     */
    constructor(sizes, activation, made, biases = true) {
      this.sizes = sizes;
      this.activation = ACTIVATIONS[activation];
      this.kernels = made;
      const count = sizes.slice(1).reduce((sum, to, i) => sum + to * sizes[i] + (biases ? to : 0), 0);
      this.weights = made.take(count);
      this.gradient = made.take(count);
      /** @type {Layer[]} */
      this.layers = [];
      let at = 0;
      const part = (/** @type {number} */ n) => {
        const views = [this.weights, this.gradient].map((all) => all.subarray(at, at + n));
        at += n;
        return views;
      };
      for (let i = 1; i < sizes.length; i++) {
        const [from, to] = [sizes[i - 1], sizes[i]];
        const [w, dw] = part(from * to);
        const [b, db] = biases ? part(to) : [null, null];
        this.layers.push({ from, to, w, b, dw, db });
      }
    }

    /**
     * Draw first weights as torch.nn.Linear does, U(-a, a) with a = 1 / sqrt(inputs).
     * @param {import("./numbers").Stream} stream
     * @returns {void}
     */
    start(stream) {
      this.layers.forEach(({ from, w, b }, i) => {
        const end = 1 / Math.sqrt(from);
        [w, b].forEach((part, j) => {
          if (part) stream.uniform(part, i, j).forEach((u, k) => { part[k] = end * (2 * u - 1); });
        });
      });
    }

    /**
     * Return room for a batch of at most so many samples.
     * @param {number} samples
     * @param {"values"|"gradients"|"penalty"} use what will be asked of it
     * @returns {Pass}
     */
    pass(samples, use) {
      const columns = kernels.padded(samples);
      const rooms = (/** @type {boolean} */ wanted) =>
        this.sizes.map((size) => (wanted ? this.kernels.take(size * columns) : new Float32Array(0)));
      const penalty = use === "penalty";
      return {
        columns, y: rooms(true), back: rooms(use !== "values"), slope: rooms(penalty), inner: rooms(penalty),
        push: rooms(penalty), bent: rooms(penalty && this.activation.bend !== null),
      };
    }

    /**
     * Send the input y[0] through the network.
     * @param {Pass} pass
     * @returns {Float32Array} the output
     */
    forward({ columns, y }) {
      const { of } = this.activation;
      this.layers.forEach(({ from, to, w, b }, i) => {
        const out = y[i + 1];
        this.kernels.mix(out, to, w, from, 1, b, y[i], from, columns);
        if (i + 1 < this.layers.length) for (let k = 0; k < out.length; k++) out[k] = of(out[k]);
      });
      return y[this.layers.length];
    }

    /**
     * Send the derivatives back[last] of what is descended to the weights, or to the input, or to both.
     * @param {Pass} pass after `forward`; with `bent`, after `penalise`
     * @param {{weights?: boolean, input?: boolean, bent?: boolean}} wanted
     * @returns {Float32Array} the derivatives in the input, if wanted
     */
    backward({ columns, y, back, bent }, { weights = true, input = false, bent: add = false }) {
      const { slope } = this.activation;
      for (let i = this.layers.length - 1; i >= 0; i--) {
        const { from, to, w, dw, db } = this.layers[i];
        const d = back[i + 1];
        if (weights) {
          this.kernels.dots(dw, d, to, y[i], from, columns);
          if (db) sums(db, d, columns);
        }
        if (i === 0 && !input) break;
        this.kernels.mix(back[i], from, w, 1, from, null, d, to, columns);
        if (i === 0) break;
        const [below, out, extra] = [back[i], y[i], bent[i]];
        for (let k = 0; k < below.length; k++) below[k] *= slope(out[k]);
        if (add) for (let k = 0; k < extra.length; k++) below[k] += extra[k];
      }
      return back[0];
    }

    /**
     * Return the derivative of each sample's one output in its input.
     * @param {Pass} pass after `forward`
     * @returns {Float32Array}
     */
    slopes({ columns, y, slope, inner }) {
      const last = this.layers.length;
      inner[last].fill(1);
      for (let i = last; i > 0; i--) {
        const { from, to, w } = this.layers[i - 1];
        this.kernels.mix(slope[i - 1], from, w, 1, from, null, inner[i], to, columns);
        if (i === 1) break;
        const [below, through, out] = [slope[i - 1], inner[i - 1], y[i - 1]];
        for (let k = 0; k < below.length; k++) through[k] = below[k] * this.activation.slope(out[k]);
      }
      return slope[0];
    }

    /**
     * Send the derivatives push[0] of a penalty in the slopes of D to the weights. What they leave in `bent`
     * is for `backward`.
     * @param {Pass} pass after `slopes`
     * @returns {void}
     */
    penalise({ columns, y, slope, inner, push, bent }) {
      const { slope: rise, bend } = this.activation;
      this.layers.forEach(({ from, to, w, dw }, i) => {
        this.kernels.dots(dw, inner[i + 1], to, push[i], from, columns);
        if (i + 1 === this.layers.length) return;
        const [next, out, above] = [push[i + 1], y[i + 1], slope[i + 1]];
        this.kernels.mix(next, to, w, from, 1, null, push[i], from, columns);
        if (bend) for (let k = 0; k < next.length; k++) bent[i + 1][k] = bend(out[k]) * above[k] * next[k];
        for (let k = 0; k < next.length; k++) next[k] *= rise(out[k]);
      });
    }
  }

  /**
   * Add the sum of each row to a number.
   * @param {Float32Array} out
   * @param {Float32Array} rows
   * @param {number} columns
   */
  function sums(out, rows, columns) {
    for (let i = 0; i < out.length; i++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += rows[i * columns + c];
      out[i] += sum;
    }
  }

  return { Network, ACTIVATIONS: Object.keys(ACTIVATIONS) };
});
