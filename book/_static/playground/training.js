/* One step of the game, as gan_helpers.training.train takes it: some updates of D, each on fresh data and noise,
   then one of G on fresh noise and the last data. */
Playground.define("training", ["networks", "losses"], (networks, losses) => {
  "use strict";

  /**
   * Adam, as torch has it. Kingma and Ba (2015), https://arxiv.org/abs/1412.6980
   * @param {number} n how many weights
   * @param {number} rate
   * @param {number} beta1
   * @param {number} beta2
   * @returns {Optimiser}
   */
  function adam(n, rate, beta1, beta2) {
    const [first, second] = [new Float64Array(n), new Float64Array(n)];
    let taken = 0;
    return {
      step(weights, gradient) {
        taken += 1;
        const size = rate / (1 - beta1 ** taken);
        const root = Math.sqrt(1 - beta2 ** taken);
        for (let i = 0; i < n; i++) {
          const g = gradient[i];
          first[i] += (1 - beta1) * (g - first[i]);
          second[i] = beta2 * second[i] + (1 - beta2) * g * g;
          weights[i] -= (size * first[i]) / (Math.sqrt(second[i]) / root + 1e-8);
        }
      },
    };
  }

  /**
   * Plain steps against the gradient, with momentum: the share of its last step that a weight makes again.
   * @param {number} n how many weights
   * @param {number} rate
   * @param {number} momentum
   * @returns {Optimiser}
   */
  function descent(n, rate, momentum) {
    const moved = new Float64Array(n);
    return {
      step(weights, gradient) {
        for (let i = 0; i < n; i++) {
          moved[i] = momentum * moved[i] - rate * gradient[i];
          weights[i] += moved[i];
        }
      },
    };
  }

  /** A moving average of weights; the first averages are shorter, so that the start is soon forgotten. */
  class Average {
    /**
     * @param {Float64Array} weights where it starts
     * @param {number} decay
     */
    constructor(weights, decay) {
      this.weights = weights.slice();
      this.decay = decay;
      this.updates = 0;
    }

    /** @param {Float64Array} newest @returns {void} */
    update(newest) {
      this.updates += 1;
      const share = 1 - Math.min(this.decay, (1 + this.updates) / (10 + this.updates));
      for (let i = 0; i < newest.length; i++) this.weights[i] += share * (newest[i] - this.weights[i]);
    }
  }

  /** Both players, and what a step of theirs needs. */
  class Players {
    /**
     * @param {Network} G
     * @param {Network} D
     * @param {Rules} rules
     * @param {{G: Optimiser, D: Optimiser}} optimisers
     * @param {Source} source
     */
    constructor(G, D, rules, optimisers, source) {
      this.G = G;
      this.D = D;
      this.rules = rules;
      this.optimisers = optimisers;
      this.source = source;
      const use = (/** @type {number} */ weight) => (weight > 0 ? "penalty" : "gradients");
      this.made = G.pass(rules.batch, "gradients");
      this.real = D.pass(rules.batch, use(rules.r1));
      this.fake = D.pass(rules.batch, use(rules.r2));
      this.between = rules.gp > 0 ? D.pass(rules.batch, "penalty") : null;
      this.shares = new Float64Array(rules.batch);
      this.average = rules.ema > 0 ? new Average(G.weights, rules.ema) : null;
      this.losses = { d: NaN, g: NaN };
      this.steps = 0;
    }

    /** Take one step. @returns {void} */
    step() {
      const { dSteps, simultaneous } = this.rules;
      for (let k = 0; k < dSteps; k++) {
        this.source.data(this.real.y[0], this.real.columns);
        this.source.noise(this.made.y[0], this.made.columns);
        this.derivativesOfD();
        if (!simultaneous) this.optimisers.D.step(this.D.weights, this.D.gradient);
      }
      if (!simultaneous) this.source.noise(this.made.y[0], this.made.columns);
      this.derivativesOfG();
      this.optimisers.G.step(this.G.weights, this.G.gradient);
      if (simultaneous) this.optimisers.D.step(this.D.weights, this.D.gradient);
      this.average?.update(this.G.weights);
      this.steps += 1;
    }

    /** Let D judge what G makes of its noise. @returns {void} */
    judge() {
      this.fake.y[0].set(this.G.forward(this.made));
      this.D.forward(this.fake);
    }

    /** Give the weights of D the derivatives of what D descends. @returns {void} */
    derivativesOfD() {
      const { loss, batch, r1, r2, gp } = this.rules;
      const [D, last] = [this.D, this.D.layers.length];
      D.gradient.fill(0);
      D.forward(this.real);
      this.judge();
      let value = losses.ofD(
        loss, this.real.y[last], this.fake.y[last], batch, this.real.back[last], this.fake.back[last],
      );
      value += this.onSlopes(this.real, r1, squared);
      value += this.onSlopes(this.fake, r2, squared);
      D.backward(this.real, { bent: r1 > 0 });
      D.backward(this.fake, { bent: r2 > 0 });
      if (this.between) {
        this.mix(this.between);
        D.forward(this.between);
        value += this.onSlopes(this.between, gp, aroundOne);
        D.backward(this.between, { bent: true });
      }
      if (loss === "relativistic" || loss === "wasserstein") D.layers[last - 1].db?.fill(0); // exactly, not nearly
      this.losses.d = value;
    }

    /**
     * Add a penalty on the slopes of D at the samples of a pass.
     * @param {Pass} pass after `forward`
     * @param {number} weight
     * @param {(squared: number) => [number, number]} penalty of a squared slope: its value, and the factor
     *   that makes a slope the penalty's derivative
     * @returns {number} the penalty
     */
    onSlopes(pass, weight, penalty) {
      if (!(weight > 0)) return 0;
      const { batch } = this.rules;
      const [slopes, push, columns] = [this.D.slopes(pass), pass.push[0], pass.columns];
      let sum = 0;
      for (let k = 0; k < batch; k++) {
        let square = 0;
        for (let at = k; at < slopes.length; at += columns) square += slopes[at] ** 2;
        const [value, factor] = penalty(square);
        sum += value;
        for (let at = k; at < slopes.length; at += columns) push[at] = (weight * factor * slopes[at]) / batch;
      }
      this.D.penalise(pass);
      return (weight * sum) / batch;
    }

    /** Put points between real samples and fakes. @param {Pass} between @returns {void} */
    mix(between) {
      this.source.mix(this.shares);
      const [out, real, fake, columns] = [between.y[0], this.real.y[0], this.fake.y[0], between.columns];
      for (let at = 0; at < out.length; at += columns) {
        this.shares.forEach((u, k) => { out[at + k] = fake[at + k] + u * (real[at + k] - fake[at + k]); });
      }
    }

    /** Give the weights of G the derivatives of what G descends. @returns {void} */
    derivativesOfG() {
      const { loss, batch } = this.rules;
      const [D, G, last] = [this.D, this.G, this.D.layers.length];
      G.gradient.fill(0);
      if (loss === "relativistic") D.forward(this.real);
      this.judge();
      this.losses.g = losses.ofG(loss, this.real.y[last], this.fake.y[last], batch, this.fake.back[last]);
      const slopes = D.backward(this.fake, { weights: false, input: true });
      this.made.back[G.layers.length].set(slopes);
      G.backward(this.made, {});
    }
  }

  /** R1 and R2, which the papers weight with gamma / 2. @type {(square: number) => [number, number]} */
  const squared = (square) => [square / 2, 1];

  /** The gradient penalty: how far the slope is from 1. @type {(square: number) => [number, number]} */
  function aroundOne(square) {
    const slope = Math.sqrt(square);
    return [(slope - 1) ** 2, square > 1.2e-38 ? (2 * (slope - 1)) / slope : 0];
  }

  return { adam, descent, Average, Players };
});
