/* Perceptrons, and their derivatives written out: in the weights, in the input, and those of the input's
   derivative in the weights, which a penalty on D's slope needs. */
Playground.define("networks", ["kernels"], (kernels) => {
  "use strict";

  /**
   * An activation, told by its outputs y: `of` puts it in place of its inputs; `through` multiplies derivatives by
   * its slope, into `out`; `bend` is the slope's own slope times two other numbers, if there is any.
   * @typedef {object} Activation
   * @property {(z: Float64Array) => void} of
   * @property {(out: Float64Array, d: Float64Array, y: Float64Array) => void} through
   * @property {null|((out: Float64Array, y: Float64Array, a: Float64Array, b: Float64Array) => void)} bend
   */

  /** Straight on either side of 0. @param {number} leak the slope on the left @returns {Activation} */
  const rectifier = (leak) => ({
    of(z) {
      for (let k = 0; k < z.length; k++) if (!(z[k] > 0)) z[k] *= leak;
    },
    through(out, d, y) {
      for (let k = 0; k < d.length; k++) out[k] = y[k] > 0 ? d[k] : leak * d[k];
    },
    bend: null,
  });

  /** @type {Activation} */
  const tanh = {
    of(z) {
      for (let k = 0; k < z.length; k++) z[k] = Math.tanh(z[k]);
    },
    through(out, d, y) {
      for (let k = 0; k < d.length; k++) out[k] = d[k] * (1 - y[k] * y[k]);
    },
    bend(out, y, a, b) {
      for (let k = 0; k < y.length; k++) out[k] = -2 * y[k] * (1 - y[k] * y[k]) * a[k] * b[k];
    },
  };

  /** @type {Record<string, Activation>} */
  const ACTIVATIONS = { relu: rectifier(0), leaky_relu: rectifier(0.2), tanh };

  /** A perceptron: linear maps with an activation between each two. */
  class Network {
    /**
     * @param {number[]} sizes features of the input, of each hidden layer and of the output
     * @param {string} activation one of ACTIVATIONS
     * @param {Kernels} made
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
     * @param {Stream} stream
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
        this.sizes.map((size) => (wanted ? this.kernels.take(size * columns) : new Float64Array(0)));
      const penalty = use === "penalty";
      return {
        columns, y: rooms(true), back: rooms(use !== "values"), slope: rooms(penalty), inner: rooms(penalty),
        push: rooms(penalty), bent: rooms(penalty && this.activation.bend !== null),
      };
    }

    /**
     * Send the input y[0] through the network.
     * @param {Pass} pass
     * @returns {Float64Array} the output
     */
    forward({ columns, y }) {
      this.layers.forEach(({ from, to, w, b }, i) => {
        const out = y[i + 1];
        this.kernels.mix(out, to, w, from, 1, b, y[i], from, columns);
        if (i + 1 < this.layers.length) this.activation.of(out);
      });
      return y[this.layers.length];
    }

    /**
     * Send the derivatives back[last] of what is descended to the weights, or to the input, or to both.
     * @param {Pass} pass after `forward`; with `bent`, after `penalise`
     * @param {{weights?: boolean, input?: boolean, bent?: boolean}} wanted
     * @returns {Float64Array} the derivatives in the input, if wanted
     */
    backward({ columns, y, back, bent }, { weights = true, input = false, bent: add = false }) {
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
        const [below, extra] = [back[i], bent[i]];
        this.activation.through(below, below, y[i]);
        if (add) for (let k = 0; k < extra.length; k++) below[k] += extra[k];
      }
      return back[0];
    }

    /**
     * Return the derivative of each sample's one output in its input.
     * @param {Pass} pass after `forward`
     * @returns {Float64Array}
     */
    slopes({ columns, y, slope, inner }) {
      const last = this.layers.length;
      inner[last].fill(1);
      for (let i = last; i > 0; i--) {
        const { from, to, w } = this.layers[i - 1];
        this.kernels.mix(slope[i - 1], from, w, 1, from, null, inner[i], to, columns);
        if (i === 1) break;
        this.activation.through(inner[i - 1], slope[i - 1], y[i - 1]);
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
      const { through, bend } = this.activation;
      this.layers.forEach(({ from, to, w, dw }, i) => {
        this.kernels.dots(dw, inner[i + 1], to, push[i], from, columns);
        if (i + 1 === this.layers.length) return;
        const next = push[i + 1];
        this.kernels.mix(next, to, w, from, 1, null, push[i], from, columns);
        bend?.(bent[i + 1], y[i + 1], slope[i + 1], next);
        through(next, next, y[i + 1]);
      });
    }
  }

  /**
   * Add the sum of each row to a number.
   * @param {Float64Array} out
   * @param {Float64Array} rows
   * @param {number} columns
   */
  function sums(out, rows, columns) {
    for (let i = 0; i < out.length; i++) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += rows[i * columns + c];
      out[i] += sum;
    }
  }

  return { Network };
});
